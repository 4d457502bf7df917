"""A migration that is killed after any of its changes leaves the schema as it was, and can be run again."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import create_engine, inspect

from app.store.database import Database
from app.store.transactions import begin_immediately

# Kills forks after their n-th change of the database, then lets one go the whole way. Prints the number of kills.
SCRIPT = """
import os, sys
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import Engine
from app.store.database import Database

def fork(act):
    child = os.fork()
    if not child:
        try:
            act()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def killed_after(changes, act):
    left = changes

    def count(connection, cursor, statement, *_):
        nonlocal left
        left -= statement.split()[0] in ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE")
        if not left:
            os._exit(9)

    event.listen(Engine, "after_cursor_execute", count)
    act()

def tables():
    engine = create_engine(url)
    names = inspect(engine).get_table_names()
    engine.dispose()
    return names

def kills(act, step):
    before, number = tables(), 0
    while (ended := fork(lambda: killed_after(1 + step * number, act))) == 9:
        number += 1
        assert tables() == before, f"killed after change {1 + step * (number - 1)}: {tables()}"
    assert ended == 0, ended
    return number

url, step = sys.argv[1], int(sys.argv[2])
print(kills(lambda: Database(url).migrate(), step), kills(lambda: Database(url).downgrade("base"), 8))
"""


@pytest.mark.slow
def test_a_migration_killed_after_any_change_can_be_run_again(database_url: str) -> None:
    step = 1 if database_url.startswith("sqlite") else 8  # PostgreSQL needed no help with this
    script = [sys.executable, "-c", SCRIPT, database_url, str(step)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    up, down = map(int, done.stdout.split())
    assert up * step > 40
    assert down >= 5
    database = Database(database_url)
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.close()


def test_a_create_table_is_rolled_back(database_url: str) -> None:
    engine = create_engine(database_url)
    begin_immediately(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("create table t (i integer)")
        connection.rollback()
    assert inspect(engine).get_table_names() == []
    engine.dispose()
