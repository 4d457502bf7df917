"""Memory that an ended attempt left behind is waited for, and told when it does not come back."""

from __future__ import annotations

from app.executors.base import DeviceReading
from app.executors.residue import SLACK_BYTES, Residue
from app.executors.watch import DeviceWatch
from app.models import Attempt
from tests.app.conftest import PretendExecutor

GIB = 2**30


def reading(used: int, **by_pid: int) -> DeviceReading:
    users = {int(pid.removeprefix("p")): size for pid, size in by_pid.items()}
    return DeviceReading("w", "cuda", "cuda:0", 80 * GIB, used_bytes=used, used_by_pid=users)


def attempt(pid: int = 5, device: str | None = "w/cuda:0") -> Attempt:
    return Attempt(
        id="att", job_id="j", epoch=1, token_hash="", reserved_bytes=GIB, handle={"pid": pid, "device": device}
    )


def test_a_device_at_its_baseline_is_free_at_once_and_a_cpu_always() -> None:
    executor = PretendExecutor()
    executor.readings = [reading(GIB), DeviceReading("w", "cpu", "cpu", GIB)]
    residue = Residue(DeviceWatch(executor), 5.0)
    residue.note()
    executor.readings[0] = reading(3 * GIB + SLACK_BYTES, p6=2 * GIB)
    assert residue.after(attempt()) is None
    assert residue.after(attempt(device="w/cpu")) is None
    assert residue.after(attempt(device=None)) is None
    assert residue.after(attempt(device="elsewhere/cuda:0")) is None


def test_memory_that_stays_is_a_reason_with_its_size() -> None:
    executor = PretendExecutor()
    executor.readings = [reading(GIB)]
    residue = Residue(DeviceWatch(executor), 0.2)
    residue.note()
    executor.readings = [reading(3 * GIB)]
    reason = residue.after(attempt())
    assert reason is not None
    assert (reason["code"], reason["details"]["bytes"]) == ("memory_not_returned", 2 * GIB)
    executor.readings = [reading(3 * GIB, p5=2 * GIB)]
    reason = residue.after(attempt())
    assert reason is not None
    assert reason["details"]["bytes"] == 2 * GIB


def test_where_the_driver_names_processes_without_their_bytes_a_neighbour_is_no_residue() -> None:
    executor = PretendExecutor()
    executor.readings = [reading(GIB)]
    residue = Residue(DeviceWatch(executor), 0.2)
    residue.note()
    executor.readings = [reading(9 * GIB, p6=0)]
    assert residue.after(attempt()) is None
    executor.readings = [reading(9 * GIB, p5=0, p6=0)]
    reason = residue.after(attempt())
    assert reason is not None
    assert reason["details"]["bytes"] == attempt().reserved_bytes


def test_where_the_driver_hides_processes_a_strangers_memory_is_no_residue() -> None:
    """A container without the host's process ids: nobody can say whose the bytes are that are there now."""
    executor = PretendExecutor()
    executor.readings = [reading(GIB)]
    residue = Residue(DeviceWatch(executor), 0.2)
    residue.note()
    executor.readings = [reading(9 * GIB)]
    ended = attempt()
    ended.handle = {**(ended.handle or {}), "use": {"held_bytes": GIB, "context_bytes": 1, "is_listed": False}}
    assert residue.after(ended) is None
