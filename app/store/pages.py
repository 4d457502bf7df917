"""One page of a list, newest first, for every table that has created_at and id."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Session

from app.store import cursors

Row = TypeVar("Row", bound=Any)
Page = tuple[list[Row], str | None]


def newest_first(
    session: Session, table: type[Row], wanted: Select[Any], limit: int, after: str | None
) -> tuple[list[Row], str | None]:
    """(rows, cursor of the next page or None). `wanted` filters; order and position are added here."""
    wanted = wanted.order_by(table.created_at.desc(), table.id.desc()).limit(limit + 1)
    if after is not None:
        at, last = cursors.decode(after, (float, str))
        wanted = wanted.where(tuple_(table.created_at, table.id) < tuple_(at, last))  # one range of the index
    return _cut(list(session.scalars(wanted)), limit, lambda row: (row.created_at, row.id))


def latest_first(
    session: Session, table: type[Row], wanted: Select[Any], limit: int, after: str | None
) -> tuple[list[Row], str | None]:
    """The same for tables whose id counts up."""
    wanted = wanted.order_by(table.id.desc()).limit(limit + 1)
    if after is not None:
        (last,) = cursors.decode(after, (int,))
        wanted = wanted.where(table.id < last)
    return _cut(list(session.scalars(wanted)), limit, lambda row: (row.id,))


def by_id(
    session: Session, table: type[Row], wanted: Select[Any], limit: int, after: str | None
) -> tuple[list[Row], str | None]:
    """The same for tables that are listed by their id, A to Z."""
    wanted = wanted.order_by(table.id).limit(limit + 1)
    if after is not None:
        (last,) = cursors.decode(after, (str,))
        wanted = wanted.where(table.id > last)
    return _cut(list(session.scalars(wanted)), limit, lambda row: (row.id,))


def _cut(rows: list[Any], limit: int, position: Any) -> tuple[list[Any], str | None]:
    page = rows[:limit]
    return page, cursors.encode(*position(page[-1])) if len(rows) > limit else None
