"""How commands reach a service: options that win over S2A_URL and S2A_API_KEY."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2a_core.errors import InvalidInput
from s2a_core.requests import FIELDS, spoken_names

if TYPE_CHECKING:
    from app.client import Client

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The service; S2A_URL, or this machine's port 8000.")
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="An API key; better kept in S2A_API_KEY.")]


def in_full(source: str) -> str:
    """A path that is there as an absolute one, since the service runs in another directory; other words as they are."""
    is_word = source in ("", "none", "pretrained")
    return str(Path(source).resolve()) if not is_word and Path(source).exists() else source


def sent(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, by the names of the API, with files of this machine by their whole paths."""
    names = dict(zip(FIELDS, spoken_names(), strict=True))
    return {names[n]: in_full(value) if n in ("data", "weights") else value for n, value in asked.items()}


def connect(url: str | None, key: str | None) -> Client:
    """A client of the service that the options or the settings name. Raises InvalidInput without a key."""
    from app.client import Client
    from app.settings import ClientSettings

    settings = ClientSettings()
    key = key or settings.api_key
    if not key:
        raise InvalidInput("no API key: set S2A_API_KEY, or give --key; `s2a serve` prints the first one")
    return Client(url or settings.url, key)
