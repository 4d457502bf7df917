"""What a database says when it refuses, in one word: on the two databases themselves where they can be made to."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, InterfaceError, InternalError, OperationalError, ProgrammingError, TimeoutError

from app.store.database import Database
from app.store.refusals import AWAY, BROKEN, BUSY, FULL, READ_ONLY, Refusal, refusal_of


def of_sqlite(code: int) -> OperationalError:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    return OperationalError("s", {}, error)


def of_postgresql(state: str | None, kind: type = OperationalError) -> Exception:
    error = type("Error", (Exception,), {"sqlstate": state})()
    return kind("s", {}, error)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (of_sqlite(sqlite3.SQLITE_FULL), FULL),
        (of_sqlite(sqlite3.SQLITE_IOERR_SHMSIZE), FULL),
        (of_sqlite(sqlite3.SQLITE_READONLY_DBMOVED), READ_ONLY),
        (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), BUSY),
        (of_sqlite(sqlite3.SQLITE_IOERR_WRITE), BROKEN),
        (of_sqlite(sqlite3.SQLITE_ERROR), None),
        (of_postgresql("25006", InternalError), READ_ONLY),
        (of_postgresql("53100"), FULL),
        (of_postgresql("53300"), BUSY),
        (of_postgresql("40001"), BUSY),
        (of_postgresql("40P01"), BUSY),
        (of_postgresql("57P01"), AWAY),
        (of_postgresql("08006"), AWAY),
        (of_postgresql(None), AWAY),
        (of_postgresql(None, InterfaceError), AWAY),
        (of_postgresql("42P01", ProgrammingError), None),
        (of_postgresql("22003", DataError), None),
        (TimeoutError("no connection left"), BUSY),
        (OSError(errno.ENOSPC, "x"), FULL),
        (OSError(errno.ENOENT, "x"), None),
        (ValueError("x"), None),
    ],
)
def test_refusals(error: Exception, wanted: Refusal | None) -> None:
    assert refusal_of(error) == wanted


def caught(act: Callable[[], object]) -> Refusal | None:
    with pytest.raises(Exception) as raised:
        act()
    return refusal_of(raised.value)


def test_a_postgresql_that_follows_another_is_read_only(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.migrate()
    database.check()
    name = database.engine.url.database
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(
            text(f"alter database {name} set default_transaction_read_only = on")
        )
    database.close()
    assert caught(database.check) == READ_ONLY
    database.close()


def test_a_postgresql_that_is_not_there(postgres_url: str) -> None:
    database = Database(postgres_url.replace("/test_", "/none_"))
    assert caught(database.check) == AWAY
    database.close()
