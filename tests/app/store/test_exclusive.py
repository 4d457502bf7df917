"""SQLite has one server, which a second one is told; PostgreSQL has as many as wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.store.exclusive import ExclusiveServer
from s2a_core.errors import InvalidInput


def test_a_second_server_on_the_file_is_told_who_has_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's2a.db'}"
    first, second = ExclusiveServer(url), ExclusiveServer(url)
    first.acquire()
    with pytest.raises(InvalidInput, match=f"pid {os.getpid()}.*SQLite allows one"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


@pytest.mark.parametrize("url", ["postgresql+psycopg://s2a@db/s2a", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_take_as_many_as_come(url: str) -> None:
    first, second = ExclusiveServer(url), ExclusiveServer(url)
    first.acquire()
    second.acquire()
    first.release()
