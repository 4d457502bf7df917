"""An executor's devices, asked with a deadline: a driver or a cluster that hangs holds up nobody who asks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from app.executors.base import DeviceReading, Executor

log = logging.getLogger(__name__)
ANSWER_S = 5.0
KEPT_S = 30.0  # the newest answer stands for one that is late for so long


class DeviceWatch:
    """Asks in a thread of its own, one question at a time. Any thread may read."""

    def __init__(
        self, executor: Executor, answer_s: float = ANSWER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.executor, self.answer_s, self.clock = executor, answer_s, clock
        self._asked: threading.Thread | None = None
        self._newest: tuple[float, Sequence[DeviceReading]] | None = None
        self._lock = threading.Lock()

    def read(self) -> Sequence[DeviceReading] | None:
        """What the devices measure; None where the newest answer is older than KEPT_S."""
        with self._lock:
            if self._asked is None or not self._asked.is_alive():
                # A daemon: a call into a driver that never returns does not keep the service from ending.
                self._asked = threading.Thread(target=self._ask, name="devices", daemon=True)
                self._asked.start()
            asked = self._asked
        asked.join(self.answer_s)
        if asked.is_alive():
            log.warning("the devices did not answer within %.0f s", self.answer_s)
        newest = self._newest
        return newest[1] if newest is not None and self.clock() - newest[0] < KEPT_S else None

    def _ask(self) -> None:
        try:
            self._newest = (self.clock(), self.executor.devices())
        except Exception:  # the thread's boundary: it is asked again
            log.exception("the devices could not be read")
