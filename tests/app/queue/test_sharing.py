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
QUICK = {"model": "s2a_tiny", "data": "digits", "adapter": "head", "precision": "fp32", "batch_size": 8}
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


def reserved_bytes(service: RunningService) -> int:
    return int(service.call("GET", "/v1/devices")["items"][0]["reserved_bytes"])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_four_real_jobs_train_at_once_and_one_that_needs_the_device_waits_until_they_end(
    service: RunningService,
) -> None:
    four = [service.submit(**REQUEST, **LONG) for _ in range(4)]
    whole = service.submit(**{**REQUEST, "budget": "2GiB"}, **SHORT)
    other = service.submit(**{**REQUEST, "budget": "2GiB"}, **SHORT)
    wait_for(lambda: all(has_trained(service, job) for job in four), 400, "all four train")
    assert [service.job(job)["status"] for job in four] == ["running"] * 4

    def explained() -> dict[str, Any] | None:
        found = service.job(whole)
        (on,) = found["reason"]["details"]["devices"]
        return found if on["free_bytes"] == 2 * GIB - reserved_bytes(service) else None

    waits = dict(wait_for(explained, 30, "its reason has the reservations as the plans left them"))
    assert (waits["status"], waits["position"], waits["reason"]["code"]) == ("queued", 1, "waiting_for_memory")
    assert waits["reason"]["message"].startswith("needs 2,048 MiB, ")
    (device,) = waits["reason"]["details"]["devices"]
    assert (device["capacity_bytes"], device["short_bytes"]) == (2 * GIB, reserved_bytes(service))
    assert sorted(held["job"] for held in device["held_by"]) == sorted(four)
    assert waits["estimated_start_at"] > time.time()

    waiting_s = seconds_until(service, other, "cancelled", cancel(service, other))
    for job in four[1:]:
        cancel(service, job)()
    running_s = seconds_until(service, four[0], "cancelled", cancel(service, four[0]))
    started_s = seconds_until(service, whole, "running", lambda: None)
    ended = service.wait_until(whole, "succeeded", "failed", seconds=1200)
    assert ended["status"] == "succeeded", ended["reason"]
    wait_for(lambda: reserved_bytes(service) == 0, 30, "every byte is given back")
    assert waiting_s <= 1.0, waiting_s
    assert running_s <= 5.0, running_s
    assert started_s <= 5.0, started_s


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_real_job_that_needs_less_than_its_budget_lends_the_rest_to_another_team_while_it_runs(
    service: RunningService,
) -> None:
    """The first job's budget is the whole device: without its plan the second would wait until it ends."""
    first = service.submit(**{**QUICK, "budget": "2GiB"}, **LONG)
    theirs = str(service.call("POST", "/v1/keys", json={"team": "theirs", "scopes": ["read", "write"]})["key"])
    wait_for(lambda: service.job(first)["status"] == "running", 30, "the first runs")
    assert reserved_bytes(service) == 2 * GIB
    ours, service.key = service.key, theirs
    second = service.submit(**{**QUICK, "budget": "1GiB"}, **SHORT)
    wait_for(lambda: service.job(second)["reason"]["code"] == "waiting_for_memory", 15, "the second waits")
    ended = service.wait_until(second, "succeeded", "failed", seconds=1200)
    assert ended["status"] == "succeeded", ended["reason"]
    service.key = ours
    running = service.job(first)
    assert running["status"] == "running"
    assert running["planned_peak_bytes"] < GIB
    wait_for(lambda: reserved_bytes(service) == int(running["planned_peak_bytes"] * 1.03), 30, "the second gave back")
    assert has_trained(service, first)
    kinds = [event["type"] for event in service.events(first) if event["type"] in ("plan", "reservation")]
    assert kinds == ["plan", "reservation"]
    cancel(service, first)()
    wait_for(lambda: reserved_bytes(service) == 0, 30, "every byte is given back")
