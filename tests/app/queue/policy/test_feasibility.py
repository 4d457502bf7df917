"""A job that no device could ever hold is known at once; one that only waits for a repair is not refused."""

from __future__ import annotations

from app.queue.policy import Device, Waiting
from app.queue.policy.feasibility import could_ever_run, largest_for

DEVICES = [Device("a", "cpu", "cpu", 100), Device("b", "cuda:0", "cuda", 60, others_bytes=50, is_ready=False)]


def test_the_largest_device_of_the_kind_decides() -> None:
    assert could_ever_run(Waiting("j", "t", 0, 100, 100), DEVICES)
    assert not could_ever_run(Waiting("j", "t", 0, 101, 101), DEVICES)
    assert could_ever_run(Waiting("j", "t", 0, 60, 60, kind="cuda"), DEVICES)
    assert not could_ever_run(Waiting("j", "t", 0, 61, 61, kind="cuda"), DEVICES)
    assert largest_for(Waiting("j", "t", 0, 1, 1, kind="cuda"), DEVICES) == 60
    assert largest_for(Waiting("j", "t", 0, 1, 1, kind="tpu"), DEVICES) == 0
