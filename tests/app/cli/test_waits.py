"""A waiting job says where it stands, when it may start, what each device lacks and who holds it."""

from __future__ import annotations

from typing import Any

from app.cli import waits

MIB, GIB = 2**20, 2**30
HOLDERS = [{"job": "job_a", "team": "a", "bytes": GIB, "ends_at": 9.0}, {"job": None, "team": "b", "bytes": 512 * MIB}]
DEVICE = {
    "name": "m/cpu",
    "state": "ready",
    "capacity_bytes": 2 * GIB,
    "free_bytes": 256 * MIB,
    "short_bytes": 256 * MIB,
    "others_bytes": 256 * MIB,
    "num_holders": 3,
    "held_by": HOLDERS,
}


def job(*devices: Any, **changes: Any) -> dict[str, Any]:
    reason = {"code": "waiting_for_memory", "message": "", "details": {"devices": list(devices)}}
    return {"status": "queued", "position": 2, "estimated_start_at": 1300.0, "reason": reason, **changes}


def test_a_place_a_start_and_the_holders_of_a_device() -> None:
    assert waits.lines(job(DEVICE), now=1000.0) == [
        "  position   2 in the queue, starts in about 5 min",
        "  m/cpu: 256 MiB free of 2,048 MiB, 256 MiB short; held by job_a 1,024 MiB, b 512 MiB, 1 more jobs, "
        "other processes 256 MiB",
    ]


def test_a_device_that_is_not_ready_says_why() -> None:
    gone = {**DEVICE, "state": "quarantined: 2 GiB of an ended attempt are still in use after 15 s"}
    assert waits.lines(job(gone, position=None)) == [f"  m/cpu: {gone['state']}"]


def test_many_devices_are_cut_and_a_job_that_does_not_wait_says_nothing() -> None:
    assert waits.lines(job(*[DEVICE] * 11))[-1] == "  and 3 more devices"
    assert waits.lines(job(DEVICE, status="running")) == []


def test_a_start_is_as_far_ahead_as_it_is() -> None:
    assert [waits.until(at, now=0.0) for at in (-5, 59, 600, 3 * 3600, 5 * 86400)] == [
        "within a minute",
        "within a minute",
        "in about 10 min",
        "in about 3 hours",
        "in about 5 days",
    ]
