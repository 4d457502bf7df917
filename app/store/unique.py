"""Rows of which only one may exist, where several requests or servers add one at the same moment."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.models import Base


def add_unique(session: Session, row: Base) -> bool:
    """Store a row; False where there is one of its key, also one whose transaction had to be waited for.

    The rest of the session's transaction stays as it is, and what it reads next is the other one's row.
    """
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True
