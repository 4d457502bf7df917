"""SQLite's transactions, begun by us and at once: sqlite3 begins none for a CREATE TABLE and defers the others."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event


def begin_immediately(engine: Engine) -> None:
    """Every transaction of a SQLite engine is one from its first statement; of other databases they are already.

    A deferred transaction that turns into a writer fails at once when another one wrote, so a writer says that it is
    one as it begins. Connections with the execution option `s2a_reads` write nothing and wait for nobody.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin)


def _leave_transactions_to_us(connection: Any, _: Any) -> None:
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    is_read = connection.get_execution_options().get("s2a_reads")
    connection.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")
