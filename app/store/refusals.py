"""Why a database refuses: no connection, read-only, full, too busy; as one word and a sentence, on both databases.

SQLite's result codes: https://www.sqlite.org/rescode.html. PostgreSQL's SQLSTATE:
https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError


@dataclass(frozen=True)
class Refusal:
    """Why the service cannot do now what it could do later. code: stable; message: for people."""

    code: str
    message: str
    retry_after_s: int


AWAY = Refusal("no_database", "the database does not answer: try again", 2)
FULL = Refusal("disk_full", "the disk is full: nothing can be stored until there is room; reading goes on", 30)
READ_ONLY = Refusal("read_only", "the database takes no changes at the moment: try again; reading goes on", 5)
BUSY = Refusal("database_busy", "the database has too much to do at the moment: try again", 1)
BROKEN = Refusal("database_broken", "the database's disk fails, or its file is damaged: see the service's log", 30)

_SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_IOERR: BROKEN,
    sqlite3.SQLITE_CORRUPT: BROKEN,
    sqlite3.SQLITE_NOTADB: BROKEN,
    sqlite3.SQLITE_CANTOPEN: AWAY,
    sqlite3.SQLITE_IOERR_SHMSIZE: FULL,  # the index of the write-ahead log could not grow
    sqlite3.SQLITE_IOERR_SHMOPEN: FULL,
}
# By whole code, then by class, its first two characters.
_POSTGRESQL = {
    "25006": READ_ONLY,
    "53100": FULL,
    "40": BUSY,  # serialization failure, deadlock
    "53": BUSY,  # too many connections, out of memory
    "55P03": BUSY,  # lock not available
    "57": AWAY,  # shut down, starting up, statement cancelled
    "58": BROKEN,  # I/O error
    "XX": BROKEN,  # damaged data or index
    "08": AWAY,  # connection lost
}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def refusal_of(error: BaseException) -> Refusal | None:
    """Why this error was raised where it says that a database or a disk refuses; None for any other error."""
    if isinstance(error, OSError):
        return FULL if error.errno in _NO_ROOM else READ_ONLY if error.errno == errno.EROFS else None
    if isinstance(error, TimeoutError):  # every connection of the pool is in use
        return BUSY
    if not isinstance(error, DBAPIError):
        return None
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(code) or _SQLITE.get(code & 0xFF)
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
    is_lost = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return AWAY if is_lost else None
