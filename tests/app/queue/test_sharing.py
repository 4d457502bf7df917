"""Real training jobs share one declared device by their budgets; the fifth waits and starts when one ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.service import RunningService, wait_for

MIB = 2**20
GIB = 2**30
REQUEST = {"model": "s2a_tiny", "data": "digits", "budget": "512MiB", "batch_size": 32}
LONG, SHORT = {"epochs": 2000}, {"epochs": 1}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    made = RunningService(tmp_path / "data", capacity_bytes=2 * GIB, poll_s=0.1)
    made.start()
    yield made
    made.stop()


def has_trained(service: RunningService, job: str) -> bool:
    """Whether a step of its training was reported."""
    return any(e["type"] == "step" for e in service.call("GET", f"/v1/jobs/{job}/events")["items"])


def seconds_until(service: RunningService, job: str, status: str, act: Callable[[], Any]) -> float:
    """How long after `act` the job has that status."""
    start = time.monotonic()
    act()
    wait_for(lambda: service.job(job)["status"] == status, 15, f"{job} is {status}")
    return time.monotonic() - start


def cancel(service: RunningService, job: str) -> Callable[[], Any]:
    return lambda: service.call("POST", f"/v1/jobs/{job}/cancel")


@pytest.mark.slow
@pytest.mark.timeout(540)
def test_four_real_jobs_train_at_once_and_a_fifth_waits_until_one_ends(service: RunningService) -> None:
    four = [service.submit(**REQUEST, **LONG) for _ in range(4)]
    fifth, sixth = service.submit(**REQUEST, **SHORT), service.submit(**REQUEST, **SHORT)
    wait_for(lambda: all(has_trained(service, job) for job in four), 240, "all four train")
    assert [service.job(job)["status"] for job in four] == ["running"] * 4

    waits = service.job(fifth)
    assert (waits["status"], waits["position"], waits["reason"]["code"]) == ("queued", 1, "waiting_for_memory")
    assert waits["reason"]["message"] == "needs 512 MiB, 0 B are free on one device"
    (device,) = waits["reason"]["details"]["devices"]
    assert (device["capacity_bytes"], device["free_bytes"], device["short_bytes"]) == (2 * GIB, 0, 512 * MIB)
    assert sorted(held["job"] for held in device["held_by"]) == sorted(four)
    assert waits["estimated_start_at"] > time.time()
    (ledger,) = service.call("GET", "/v1/devices")["items"]
    assert (ledger["reserved_bytes"], ledger["free_bytes"], len(ledger["jobs"])) == (2 * GIB, 0, 4)

    waiting_s = seconds_until(service, sixth, "cancelled", cancel(service, sixth))
    running_s = seconds_until(service, four[0], "cancelled", cancel(service, four[0]))
    started_s = seconds_until(service, fifth, "running", lambda: None)
    for job in four[1:]:
        cancel(service, job)()
    ended = service.wait_until(fifth, "succeeded", "failed", seconds=240)
    assert ended["status"] == "succeeded", ended["reason"]
    is_free = lambda: service.call("GET", "/v1/devices")["items"][0]["reserved_bytes"] == 0  # noqa: E731
    wait_for(is_free, 30, "every byte is given back")
    assert waiting_s <= 1.0, waiting_s
    assert running_s <= 5.0, running_s
    assert started_s <= 5.0, started_s
