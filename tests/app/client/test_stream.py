"""Streams: lines become events, and a cut connection loses and repeats nothing."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from app.client import stream
from app.client.errors import Unreachable
from app.client.stream import Message, follow, messages


def test_lines_become_events_and_comments_are_left_out() -> None:
    lines = [": hello", "", "id: 4", "event: step", "data: {", "data: }", "", "retry: 5", "", "data: x", ""]
    assert list(messages(lines)) == [Message("step", "{\n}", "4"), Message("message", "x", "4")]


def test_a_stream_that_is_cut_fifty_times_gives_every_event_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.time, "sleep", lambda _: None)
    chance, cuts = random.Random(0), [50]

    def lines(after: int) -> Iterator[str]:
        for seq in range(max(1, after), 301):  # the last event again: it is left out
            if cuts[0] and chance.random() < 0.2:
                cuts[0] -= 1
                raise httpx.ReadError("cut")
            yield from (f"id: {seq}", "event: step", f'data: {{"seq": {seq}}}', "")
        yield from ("event: end", "data: {}", "")

    @contextlib.contextmanager
    def open_after(after: int) -> Iterator[Any]:
        if chance.random() < 0.1:
            raise httpx.ConnectError("refused")
        yield SimpleNamespace(iter_lines=lambda: lines(after))

    assert [event["seq"] for event in follow(open_after)] == list(range(1, 301))
    assert cuts == [0]


def test_a_service_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.time, "sleep", lambda _: None)

    def open_after(_: int) -> Any:
        raise Unreachable("gone")

    with pytest.raises(Unreachable, match="the stream of events is gone"):
        list(follow(open_after, give_up_s=0.01))
