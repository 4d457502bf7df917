"""Transactions commit whole or not at all, and writers wait for each other instead of failing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.store import keys
from app.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'a.db'}")
    made.migrate()
    return made


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as session:
            keys.team(session, "a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.transaction() as session:
        keys.add(session, keys.team(session, "b").id, ["read"], "hash")
        assert keys.count(session) == 1
    database.close()


def test_two_hundred_writes_of_four_threads_all_arrive(database: Database) -> None:
    def write(name: str) -> None:
        for _ in range(50):
            with database.transaction() as session:
                keys.add(session, keys.team(session, name).id, ["read"], "hash")

    threads = [threading.Thread(target=write, args=(f"team-{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction() as session:
        assert keys.count(session) == 200
    database.close()
