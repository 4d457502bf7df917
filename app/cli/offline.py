"""What is done with a service's database alone, also while the service runs, when no key is left to ask with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2a_core.errors import InvalidInput


def make_key(
    db: str | None, team: str, scopes: list[str], name: str, expires_at: float | None = None
) -> dict[str, Any]:
    """A new key, written into the database of the settings or of `db`. Raises InvalidInput where there is none."""
    from pydantic import ValidationError
    from sqlalchemy.engine import make_url

    from app.cli.server import DATABASES, database_errors, read_settings
    from app.schemas.operations import KeyRequest
    from app.services.keys import KeyService
    from app.store.database import Database

    try:
        asked = KeyRequest.model_validate({"team": team, "name": name, "scopes": scopes, "expires_at": expires_at})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"{first['loc'][0]}: {first['msg']}") from error
    where = db or read_settings().url
    with database_errors():
        place = make_url(where)
        if place.get_backend_name() == "sqlite" and not Path(place.database or "").is_file():
            raise InvalidInput(f"no database {place.database}: `s2a serve` makes it, with a first key; {DATABASES}")
        database = Database(where)
        try:
            return KeyService(database).issue(None, asked.team, asked.scopes, asked.name, asked.expires_at)
        finally:
            database.close()
