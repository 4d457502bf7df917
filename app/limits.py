"""How fast one key may send: a bucket of tokens per key, in this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from app.errors import TooManyRequests

MAX_KEYS = 10_000


class RateLimit:
    """`rate_per_s` requests on average and `burst` at once for each key; a rate of 0 limits nothing."""

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate_per_s, self.burst, self._clock = rate_per_s, max(1, burst), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, key: str) -> None:
        """Take one token of a key's bucket. Raises TooManyRequests, with the seconds to wait, when it is empty."""
        if self.rate_per_s <= 0:
            return
        with self._lock:
            now = self._clock()
            tokens, at = self._buckets.pop(key, (float(self.burst), now))
            tokens = min(float(self.burst), tokens + (now - at) * self.rate_per_s)
            is_empty = tokens < 1
            self._buckets[key] = (tokens if is_empty else tokens - 1, now)
            while len(self._buckets) > MAX_KEYS:
                self._buckets.popitem(last=False)
        if is_empty:
            wait_s = (1 - tokens) / self.rate_per_s
            raise TooManyRequests(
                f"this key may send {self.rate_per_s:g} requests a second: try again in {wait_s:.1f} s",
                details={"retry_after_s": round(wait_s, 3), "rate_per_s": self.rate_per_s, "burst": self.burst},
            )
