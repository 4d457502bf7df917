"""Devices that hang or fail are answered for by what is known, for a while; nobody waits for them."""

from __future__ import annotations

import threading
import time

import pytest

from app.executors.base import DeviceReading
from app.executors.watch import KEPT_S, DeviceWatch
from tests.app.conftest import PretendExecutor

READING = DeviceReading("w", "cuda", "cuda:0", 2**30)


class Hanging(PretendExecutor):
    """Its devices answer when a test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.num_asked = 0

    def devices(self) -> list[DeviceReading]:
        """After the test's word."""
        self.num_asked += 1
        self.may_answer.wait(30)
        return [READING]


def test_a_driver_that_hangs_is_asked_once_and_holds_nobody_up() -> None:
    executor, now = Hanging(), [0.0]
    watch = DeviceWatch(executor, answer_s=0.05, clock=lambda: now[0])
    start = time.monotonic()
    assert [watch.read(), watch.read()] == [None, None]
    assert time.monotonic() - start < 5
    assert executor.num_asked == 1
    executor.may_answer.set()
    while watch.read() is None:
        time.sleep(0.01)
    executor.may_answer.clear()
    assert watch.read() == [READING], "the newest answer stands for one that is late"
    now[0] += KEPT_S
    assert watch.read() is None
    executor.may_answer.set()


def test_devices_that_cannot_be_read_are_logged_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    executor = PretendExecutor()
    executor.devices = lambda: 1 / 0  # type: ignore[assignment,return-value,method-assign]
    watch = DeviceWatch(executor)
    assert watch.read() is None
    assert "could not be read" in caplog.text
    executor.devices = lambda: [READING]  # type: ignore[method-assign]
    assert watch.read() == [READING]
