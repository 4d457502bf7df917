"""Devices are what executors measure: others' memory counts, quarantine ends when the memory is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.executors.base import DeviceReading
from app.models import Attempt, Device, DeviceState
from app.queue.devices import CONTEXT_BYTES, others_bytes, refresh
from app.settings import Settings
from app.store.database import Database

GIB = 2**30


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    with database.transaction() as found:
        yield found
    database.close()


def gpu(used: int = 0, **by_pid: int) -> DeviceReading:
    users = {int(pid[1:]): num_bytes for pid, num_bytes in by_pid.items()}
    return DeviceReading("w", "cuda", "cuda:0", 80 * GIB, used_bytes=used, used_by_pid=users)


def attempt(pid: int | None, reserved: int) -> Attempt:
    return Attempt(job_id="j", epoch=1, token_hash="", reserved_bytes=reserved, handle={"pid": pid})


def one(session: Session, reading: DeviceReading, now: float = 0.0) -> Device:
    (device,) = refresh(session, [reading], [], Settings(), now)
    return device


def test_a_device_is_registered_once_and_has_the_reserve_of_its_kind(session: Session) -> None:
    first = one(session, gpu(used=GIB))
    assert (first.capacity_bytes, first.baseline_bytes, first.used_by_others_bytes) == (80 * GIB, GIB, 0)
    assert first.reserve_bytes == Settings().cuda_reserve_bytes
    assert one(session, gpu(used=GIB)).id == first.id
    _, cpu = refresh(session, [DeviceReading("w", "cpu", "cpu", GIB), gpu()], [], Settings(), 0)[::-1]
    assert (cpu.kind, cpu.reserve_bytes) == ("cpu", 0)


def test_other_processes_memory_is_counted_and_ours_is_not() -> None:
    reading = gpu(10 * GIB, p7=4 * GIB, p8=5 * GIB)
    assert others_bytes(reading, []) == 10 * GIB
    assert others_bytes(reading, [attempt(7, 20 * GIB)]) == 6 * GIB
    assert others_bytes(gpu(10 * GIB), [attempt(7, 4 * GIB)]) == 6 * GIB
    assert others_bytes(gpu(3 * GIB), [attempt(7, 4 * GIB)]) == 0


def test_an_attempt_whose_bytes_the_driver_does_not_tell_counts_with_its_reservation() -> None:
    assert others_bytes(gpu(10 * GIB, p7=0, p8=0), [attempt(7, 4 * GIB)]) == 6 * GIB


def test_where_the_driver_hides_processes_an_attempt_counts_with_what_it_says_itself() -> None:
    said = attempt(7, 4 * GIB)
    said.handle = {"pid": 7, "use": {"held_bytes": GIB, "context_bytes": 2, "is_listed": False}}
    assert others_bytes(gpu(10 * GIB), [said]) == 9 * GIB
    assert others_bytes(gpu(10 * GIB, p7=2 * GIB), [said]) == 8 * GIB


def test_a_gpus_context_is_never_zero_and_is_what_its_processes_measured(session: Session) -> None:
    device = one(session, gpu())
    assert device.context_bytes == CONTEXT_BYTES
    said = attempt(7, 4 * GIB)
    said.device_id, said.handle = device.id, {"pid": 7, "use": {"held_bytes": GIB, "context_bytes": 300 * 2**20}}
    refresh(session, [gpu()], [said], Settings(), 0.0)
    assert device.context_bytes == 300 * 2**20
    assert one(session, gpu()).context_bytes == 300 * 2**20, "it stays known"


def test_a_stranger_on_the_device_is_written_down(session: Session) -> None:
    one(session, gpu(used=GIB))
    device = one(session, gpu(21 * GIB, p99=20 * GIB))
    assert (device.baseline_bytes, device.used_by_others_bytes) == (GIB, 20 * GIB)


def test_quarantine_ends_when_the_memory_is_back_and_not_before(session: Session) -> None:
    device = one(session, gpu())
    device.state = DeviceState.QUARANTINED
    device.reason = {"code": "memory_not_returned", "message": "", "details": {"pid": 7}}
    assert one(session, gpu(4 * GIB, p7=4 * GIB)).state == DeviceState.QUARANTINED
    assert one(session, gpu(4 * GIB)).state == DeviceState.QUARANTINED
    assert one(session, gpu(5 * GIB, p7=0)).state == DeviceState.QUARANTINED
    assert one(session, gpu(0)).state == DeviceState.READY
    assert device.reason is None


def test_a_quarantine_for_another_reason_stays(session: Session) -> None:
    device = one(session, gpu())
    device.state, device.reason = DeviceState.QUARANTINED, {"code": "operator", "message": "", "details": {}}
    assert one(session, gpu()).state == DeviceState.QUARANTINED


def test_a_device_that_is_not_reported_is_gone_until_it_is_again(session: Session) -> None:
    one(session, gpu())
    (device,) = refresh(session, [], [], Settings(), 1)
    assert (device.state, (device.reason or {})["code"]) == (DeviceState.GONE, "gone")
    assert one(session, gpu(), 2).state == DeviceState.READY


def test_a_device_that_comes_back_is_in_quarantine_still(session: Session) -> None:
    device = one(session, gpu())
    why = {"code": "memory_not_returned", "message": "", "details": {"pid": 7}}
    device.state, device.reason = DeviceState.QUARANTINED, why
    refresh(session, [], [], Settings(), 1)
    assert device.state == DeviceState.GONE
    assert one(session, gpu(4 * GIB, p7=4 * GIB), 2).state == DeviceState.QUARANTINED
    assert device.reason == why
    refresh(session, [], [], Settings(), 3)
    assert one(session, gpu(), 4).state == DeviceState.READY
