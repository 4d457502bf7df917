"""Only lower classes are stopped, only for a job that waited, and no more of them than it needs."""

from __future__ import annotations

from app.queue.policy import Device, Live, Rules, Waiting
from app.queue.policy.packing import Packing
from app.queue.policy.preemption import victims

RULES = Rules(preempt_after_s=60, min_run_s=10)
DEVICES = [Device("a", "a", "cuda", 100), Device("b", "b", "cuda", 100)]
HIGH = Waiting("high", "t", 0, 50, 50, priority=2)


def live(name: str, device: str, size: int, started: float = 0, priority: int = 0, **more: bool) -> Live:
    return Live(name, "t", device, size, started, 1e6, priority, **more)


def stopped(lives: list[Live], job: Waiting = HIGH, now: float = 100) -> list[str]:
    return [p.job_id for p in victims(job, Packing(DEVICES, lives, now), RULES)]


def test_the_cheapest_set_on_one_device_is_stopped() -> None:
    lives = [live("old", "a", 100), live("keep", "b", 40), live("young", "b", 60, started=80)]
    assert stopped(lives) == ["young"]


def test_nobody_of_the_same_class_is_stopped_and_nobody_for_a_job_that_just_came() -> None:
    full = [live("x", "a", 100, priority=2), live("y", "b", 100, priority=2)]
    assert stopped(full) == []
    lives = [live("x", "a", 100), live("y", "b", 100)]
    assert stopped(lives, now=30) == []
    assert stopped(lives, Waiting("low", "t", 0, 50, 50, priority=0)) == []


def test_nobody_else_is_stopped_while_memory_is_on_its_way() -> None:
    assert stopped([live("x", "a", 100, is_stopping=True), live("y", "b", 100)]) == []


def test_a_victim_that_a_larger_one_makes_needless_is_spared() -> None:
    lives = [live("small", "a", 10, started=50), live("large", "a", 90, started=40), live("z", "b", 100, priority=2)]
    assert stopped(lives) == ["large"]


def test_a_job_that_just_started_is_not_stopped() -> None:
    assert stopped([live("x", "a", 100, started=95), live("y", "b", 100, started=95)]) == []
