"""Archives sent in parts: what the service has already is asked for, so a cut upload goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.client.errors import Unreachable
from app.errors import InProgress, WrongState

PART_BYTES = 8 * 2**20
TRIES = 8
Progress = Callable[[int, int], None]
Call = Callable[..., Any]


def send(call: Call, path: Path, upload: dict[str, Any], progress: Progress | None = None) -> None:
    """Send what is missing of an upload. call(method, path, **content) -> JSON.

    progress(sent, size) is told after every part. Raises Unreachable when the service stays away for about a minute.
    """
    at, size, failures = int(upload["received"]), int(upload["size"]), 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            part = file.read(PART_BYTES)
            try:
                headers = {"Upload-Offset": str(at), "Content-Type": "application/octet-stream"}
                at = int(call("PATCH", f"/v1/uploads/{upload['id']}", content=part, headers=headers)["received"])
                failures = 0
            except (InProgress, Unreachable):  # a part that was cut off may be held for a while on the other side
                failures += 1
                if failures > TRIES:
                    raise
                time.sleep(min(10.0, 0.2 * 2**failures))
                at = _received(call, upload["id"], at)
            except WrongState as error:
                if "received" not in error.details:
                    raise
                at = int(error.details["received"])
            if progress:
                progress(at, size)


def _received(call: Call, upload_id: str, known: int) -> int:
    try:
        return int(call("GET", f"/v1/uploads/{upload_id}")["received"])
    except Unreachable:
        return known
