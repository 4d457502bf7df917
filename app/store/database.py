"""Connections and transactions: SQLite in WAL mode with BEGIN IMMEDIATE, or PostgreSQL; and the migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, insert, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from app.models import EndedSession
from app.private import private_file
from app.store.transactions import begin_immediately
from app.text import dumps

LOCK_TIMEOUT_S = 15  # who waits longer for another's transaction is told that the database is busy
# A server that vanished without a word is noticed within a minute, not after the kernel's two hours.
POSTGRESQL = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
PROBE_BYTES = 64 * 1024  # the largest page of SQLite
PACKAGE = Path(__file__).resolve().parents[1]
MIGRATIONS = (PACKAGE / "migrations", PACKAGE.parent / "alembic")  # in a wheel; beside the package in a checkout


class Database:
    """One engine. Transactions commit at the end of their block, or roll back when it raises."""

    def __init__(self, url: str) -> None:
        self.url = url
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        arguments = {"timeout": LOCK_TIMEOUT_S, "check_same_thread": False} if is_sqlite else POSTGRESQL
        self.engine = create_engine(
            url,
            connect_args=arguments,
            pool_size=20,
            max_overflow=30,
            pool_pre_ping=not is_sqlite,
            json_serializer=dumps,
        )
        if is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            begin_immediately(self.engine)
            file = make_url(url).database
            if file and file != ":memory:" and Path(file).parent.is_dir():
                private_file(Path(file))  # its log and its index take the same mode
        else:
            event.listen(self.engine, "connect", _prepare_postgresql)
        self._joined: ContextVar[Session | None] = ContextVar("joined", default=None)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._readers = sessionmaker(self.engine.execution_options(s2a_reads=True), expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits once, at the end; within `together`, that of the whole."""
        joined = self._joined.get()
        if joined is not None:
            yield joined
            joined.flush()
            return
        with self._sessions.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing and waits for no writer; within `together`, that of the whole."""
        joined = self._joined.get()
        if joined is not None:
            yield joined
            return
        with self._readers() as session:
            yield session

    @contextmanager
    def together(self) -> Iterator[Session]:
        """One transaction for everything that is done within, by whoever: all of it is kept, or nothing."""
        with self.transaction() as session:
            token = self._joined.set(session)
            try:
                yield session
            finally:
                self._joined.reset(token)

    def check(self) -> None:
        """Raises what a change would be refused with at this moment; changes nothing."""
        if self.engine.dialect.name == "sqlite":
            with self._sessions() as session:  # a row larger than a page needs room, and is rolled back
                session.execute(insert(EndedSession).values(id="x" * PROBE_BYTES, expires_at=0.0))
                session.rollback()
            return
        with self.reading() as session:
            if session.scalar(text("SELECT current_setting('transaction_read_only')")) == "on":
                session.execute(text("SELECT 1 FROM teams FOR UPDATE"))

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to a version, the newest by default."""
        from alembic import command

        command.upgrade(self._migrations(), revision)

    def revisions(self) -> tuple[str | None, str | None]:
        """(the version of the schema, None of an empty database; the newest that this s2a knows)."""
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        with self.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        return current, ScriptDirectory.from_config(self._migrations()).get_current_head()

    def _migrations(self) -> Any:
        from alembic.config import Config

        folder = next((path for path in MIGRATIONS if (path / "versions").is_dir()), None)
        if folder is None:
            raise FileNotFoundError(f"no migrations in {' or '.join(map(str, MIGRATIONS))}")
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["url"] = self.url
        return config

    def downgrade(self, revision: str) -> None:
        """Bring the schema back to an older version."""
        from alembic import command

        command.downgrade(self._migrations(), revision)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # SQLite's own knows ASCII only: a search would find less than on PostgreSQL
    connection.create_function("lower", 1, lambda text: text and str(text).lower(), deterministic=True)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _prepare_postgresql(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
    connection.commit()
