"""The feed wakes who waits when something happened, and everybody when it closes; they share what they read."""

from __future__ import annotations

import asyncio
import time

from app.services.feed import EventFeed


def test_waiters_wake_on_news_and_at_the_end() -> None:
    newest = [1]

    async def run() -> tuple[float, float, float]:
        feed = EventFeed(lambda: newest[0])
        feed.start()
        await feed.wait(0.5)  # the first look is news

        async def timed(timeout_s: float) -> float:
            start = time.monotonic()
            await feed.wait(timeout_s)
            return time.monotonic() - start

        quiet = await timed(0.4)
        waiting = asyncio.create_task(timed(0.9))
        await asyncio.sleep(0.05)
        newest[0] = 2
        news = await waiting
        waiting = asyncio.create_task(timed(0.9))
        await asyncio.sleep(0.05)
        await feed.stop()
        closed = await waiting
        assert feed.is_closed
        return quiet, news, closed

    quiet, news, closed = asyncio.run(run())
    assert quiet >= 0.39
    assert news < 0.8
    assert closed < 0.8


def test_who_asks_for_the_same_shares_one_look_until_there_is_news() -> None:
    newest, looks = [1], list[str]()

    def look() -> int:
        looks.append("a")
        time.sleep(0.05)
        return newest[0]

    async def run() -> list[int]:
        feed = EventFeed(lambda: newest[0])
        feed.start()
        await feed.wait(0.5)
        cut = asyncio.create_task(feed.shared("a", look))
        others = [asyncio.create_task(feed.shared("a", look)) for _ in range(9)]
        await asyncio.sleep(0.01)
        cut.cancel()  # takes nothing from the others
        found = await asyncio.gather(*others)
        assert len(looks) == 1
        newest[0] = 2
        await feed.wait(0.5)
        found.append(await feed.shared("a", look))
        await feed.stop()
        return found

    assert asyncio.run(run()) == [1] * 9 + [2]
    assert len(looks) == 2
