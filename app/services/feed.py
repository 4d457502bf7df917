"""Wakes the event streams: one query a tick for all of them says whether any job has said something.

Streams that follow the same job from the same place share what is read, so that ten watchers cost what one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import structlog

TICK_S = 0.2
RECHECK_S = 1.0  # a stream looks for itself this often: on PostgreSQL a number may be committed after a higher one
Answer = TypeVar("Answer")
log = structlog.get_logger("s2a.feed")


class EventFeed:
    """newest() -> a number that grows with every event; it is asked only while somebody listens."""

    def __init__(self, newest: Callable[[], int]) -> None:
        self._newest = newest
        self._waiters: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._shared: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}
        self.is_closed = False

    def start(self) -> None:
        """Begin, inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run())

    async def wait(self, timeout_s: float) -> None:
        """Until an event of any job, the end of the service, or the time."""
        if self.is_closed:
            return
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiter.wait(), min(timeout_s, RECHECK_S))
        finally:
            self._waiters.discard(waiter)

    async def shared(self, key: Hashable, load: Callable[[], Answer]) -> Answer:
        """load() in a thread, once for all who ask under the same key before the next event or the next tick."""
        now = time.monotonic()
        started_at, task = self._shared.get(key, (0.0, None))
        if task is None or now - started_at > TICK_S:
            self._shared = {known: entry for known, entry in self._shared.items() if now - entry[0] <= TICK_S}
            task = asyncio.create_task(asyncio.to_thread(load))
            self._shared[key] = (now, task)
        answer: Answer = await asyncio.shield(task)  # one that is cut off takes nothing from the others
        return answer

    async def _run(self) -> None:
        seen = -1
        while not self.is_closed:
            await asyncio.sleep(TICK_S)
            if not self._waiters:
                continue
            try:
                newest = await asyncio.to_thread(self._newest)
            except Exception:  # the loop's boundary: streams look for themselves meanwhile
                log.exception("the feed could not be read")
                continue
            if newest != seen:
                seen = newest
                self._wake()

    def _wake(self) -> None:
        self._shared.clear()
        for waiter in tuple(self._waiters):
            waiter.set()

    def close(self) -> None:
        """End every stream; may be called from a signal handler or another thread."""
        self.is_closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    async def stop(self) -> None:
        """End the task too."""
        self.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
