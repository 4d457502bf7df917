"""Rows that belong to a team, as every table of them is asked for."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

Row = TypeVar("Row", bound=Any)


def of_team(table: type[Row], team_id: str | None) -> Select[Row]:
    """Rows of that team; of every team if None."""
    return select(table) if team_id is None else select(table).where(table.team_id == team_id)


def find(
    session: Session,
    table: type[Row],
    row_id: str,
    team_id: str | None,
    *,
    is_locked: bool = False,
    is_kept: bool = False,
) -> Row | None:
    """A row by its id, of that team if one is given.

    Until the transaction ends nobody else locks it (is_locked), or removes it (is_kept). SQLite has one writer anyway.
    """
    wanted = of_team(table, team_id).where(table.id == row_id)
    if is_locked or is_kept:
        wanted = wanted.with_for_update(read=is_kept, key_share=is_kept)
    row: Row | None = session.scalar(wanted)
    return row


def add(session: Session, row: Row) -> Row:
    """Store a row; its id and its defaults are set."""
    session.add(row)
    session.flush()
    return row
