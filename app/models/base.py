"""What every table shares: the metadata, how JSON is stored, and how ids are made."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase

_DOCUMENT = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """Metadata of every table. A JSON column that is None is NULL in the database."""

    type_annotation_map = {dict[str, Any]: _DOCUMENT, list[dict[str, Any]]: _DOCUMENT, list[str]: _DOCUMENT}


def new_id(prefix: str) -> Callable[[], str]:
    """A column default: `prefix_` and 12 random hex digits."""
    return lambda: f"{prefix}_{secrets.token_hex(6)}"
