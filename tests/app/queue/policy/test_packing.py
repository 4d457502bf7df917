"""Best fit, reservations from estimated ends, and backfill that delays no reservation."""

from __future__ import annotations

from app.queue.policy import Device, Live, Waiting
from app.queue.policy.packing import Packing

A, B = Device("a", "cuda:0", "cuda", 100), Device("b", "cuda:1", "cuda", 60)


def job(name: str, size: int, runs_s: float = 100) -> Waiting:
    return Waiting(name, "t", 0, size, size, runs_s)


def test_a_job_goes_where_it_leaves_least() -> None:
    packing = Packing([A, B], [], 0)
    assert packing.best_fit(job("x", 50)) == "b"
    assert packing.best_fit(job("x", 70)) == "a"
    assert packing.best_fit(job("x", 101)) is None


def test_memory_of_others_and_of_devices_that_are_not_ready_is_not_free() -> None:
    busy, broken = Device("a", "a", "cuda", 100, others_bytes=30), Device("b", "b", "cuda", 100, is_ready=False)
    packing = Packing([busy, broken], [Live("l", "t", "a", 50, 0, 9)], 0)
    assert packing.free == {"a": 20}
    assert not packing.could_hold(job("x", 71))
    assert packing.could_hold(job("x", 70))


def test_the_head_gets_the_device_that_is_free_for_it_first() -> None:
    lives = [Live("l1", "t", "a", 60, 0, 50), Live("l2", "t", "a", 40, 0, 80), Live("l3", "t", "b", 60, 0, 200)]
    held = Packing([A, B], lives, 0).reserve(job("head", 55))
    assert held is not None
    assert (held.device_id, held.at, held.extra_bytes) == ("a", 50, 5)


def test_backfill_ends_before_the_head_starts_or_fits_beside_it() -> None:
    lives = [Live("l", "t", "a", 70, 0, 50)]
    packing = Packing([A], lives, 0)
    assert packing.reserve(job("head", 90)) is not None
    assert packing.best_fit(job("long", 20, runs_s=60)) is None
    assert packing.best_fit(job("short", 20, runs_s=50)) == "a"
    assert packing.best_fit(job("beside", 10, runs_s=999)) == "a"
    packing.place(job("beside", 10, runs_s=999), "a")
    assert packing.best_fit(job("one more beside", 1, runs_s=999)) is None
    assert packing.best_fit(job("short", 20, runs_s=50)) == "a"


def test_a_device_has_one_reservation_at_a_time() -> None:
    packing = Packing([A], [Live("l", "t", "a", 70, 0, 50)], 0)
    assert packing.reserve(job("head", 90)) is not None
    assert packing.reserve(job("next", 80)) is None
