"""`s2a db`: the version of the service's database, and its way to another; `s2a serve` does the way up itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.server import database_errors, read_settings
from app.cli.terminal import Terminal

if TYPE_CHECKING:
    from app.store.database import Database

Url = Annotated[str | None, typer.Option("--db", help="Database URL; SQLite under S2A_DATA_DIR by default.")]


def commands() -> typer.Typer:
    """`current`, `upgrade` and `downgrade`."""
    group = typer.Typer(no_args_is_help=True, help="The database's version. Back up before a change.")
    for command in (current, upgrade, downgrade):
        group.command(command.__name__)(command)
    return group


def current(ctx: typer.Context, db: Url = None, json: options.Json = False) -> None:
    """The version of the database, and the newest that this s2a knows."""
    with _database(db) as database:
        _say(ctx.obj, database)


def upgrade(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="A version.")] = "head",
    db: Url = None,
    json: options.Json = False,
) -> None:
    """Bring the database to a newer version, the newest by default."""
    _move(ctx, db, lambda database: database.migrate(revision))


def downgrade(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="A version; `base` drops every table.")],
    db: Url = None,
    json: options.Json = False,
) -> None:
    """Bring the database back to an older version, before an older s2a is installed."""
    _move(ctx, db, lambda database: database.downgrade(revision))


def _move(ctx: typer.Context, db: str | None, act: Callable[[Database], None]) -> None:
    from app.store.exclusive import ExclusiveServer

    with _database(db) as database:
        server = ExclusiveServer(database.url)
        server.acquire()  # raises while a service uses an SQLite file
        try:
            act(database)
        finally:
            server.release()
        _say(ctx.obj, database)


@contextmanager
def _database(db: str | None) -> Iterator[Database]:
    settings = read_settings()
    with database_errors():
        from app.store.database import Database

        database = Database(db or settings.url)
        try:
            yield database
        finally:
            database.close()


def _say(terminal: Terminal, database: Database) -> None:
    version, newest = database.revisions()
    terminal.document({"revision": version, "newest": newest})
    terminal.say(f"at {version or 'no version: it is empty'}; the newest is {newest}")
