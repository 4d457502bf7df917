"""Server-sent events: lines to events, and a job's stream that is picked up again wherever it was cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.client.errors import Unreachable

MAX_WAIT_S = 10.0
Open = Callable[[int], Any]


@dataclass
class Message:
    """One event of a stream. id: the last one the stream gave, if any."""

    kind: str = "message"
    data: str = ""
    id: str = ""


def messages(lines: Iterable[str]) -> Iterator[Message]:
    """Events of a text/event-stream; comments and empty events are left out."""
    kind, data, number = "message", list[str](), ""
    for line in lines:
        if not line:
            if data:
                yield Message(kind, "\n".join(data), number)
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            number = value


def follow(open_after: Open, after: int = 0, give_up_s: float = 300.0) -> Iterator[dict[str, Any]]:
    """Every event above `after`, once and in order, until the job has ended.

    open_after(seq) is a context manager of a streaming answer. A cut connection is opened again after the last event
    that arrived; Unreachable when that has failed for `give_up_s` seconds.
    """
    seen, wait_s = after, 0.5
    failing_since: float | None = None
    while True:
        try:
            with open_after(seen) as answer:
                for message in messages(answer.iter_lines()):
                    wait_s, failing_since = 0.5, None
                    if message.kind == "end":
                        return
                    event = json.loads(message.data)
                    if event["seq"] > seen:
                        seen = event["seq"]
                        yield event
        except (httpx.TransportError, Unreachable) as error:
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > give_up_s:
                raise Unreachable(f"the stream of events is gone for {give_up_s:g} s: {error}") from error
        time.sleep(wait_s)
        wait_s = min(MAX_WAIT_S, 2 * wait_s)
