"""Wakes the event streams: one query a tick for all of them says whether any job has said something."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

TICK_S = 0.2
RECHECK_S = 1.0  # a stream looks for itself this often: on PostgreSQL a number may be committed after a higher one
log = structlog.get_logger("s2a.feed")


class EventFeed:
    """newest() -> a number that grows with every event; it is asked only while somebody listens."""

    def __init__(self, newest: Callable[[], int]) -> None:
        self._newest = newest
        self._waiters: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
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
