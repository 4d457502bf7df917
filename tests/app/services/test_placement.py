"""A job that can never run is refused at once, with the numbers and what comes nearest."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.executors.base import DeviceReading
from app.models import Plan, PlanStatus
from app.queue.scheduler import Scheduler
from app.settings import Settings

MIB = 2**20


def refused(service: TestClient, **changes: Any) -> dict[str, Any]:
    answer = service.post("/v1/jobs", json={"model": "s2a_tiny", "data": "digits", "budget": "101MiB", **changes})
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == "no_device_fits"
    return problem


def test_before_a_scheduler_named_devices_nothing_is_refused(submit: Any) -> None:
    submit(budget="900GiB")


def test_a_job_larger_than_the_largest_device_is_refused_with_the_nearest_budget(
    service: TestClient, submit: Any, scheduler: Scheduler
) -> None:
    scheduler.tick()
    problem = refused(service)
    assert "needs 101 MiB on one device" in problem["title"]
    assert problem["details"]["needs_bytes"] == 101 * MIB
    assert problem["details"]["largest_bytes"] == problem["details"]["nearest_budget_bytes"] == 100 * MIB
    submit(budget="100MiB")


def test_a_kind_of_device_that_is_not_there_is_refused(service: TestClient, scheduler: Scheduler) -> None:
    scheduler.tick()
    assert "no device is 'cuda'; there are: cpu" in refused(service, budget="1MiB", device="cuda")["title"]


@pytest.mark.parametrize(("budgets", "nearest"), [((40, 80, 160), 80), ((160, 300), None)])
def test_a_known_plan_says_which_budget_comes_nearest(
    service: TestClient, scheduler: Scheduler, budgets: tuple[int, ...], nearest: int | None
) -> None:
    scheduler.tick()
    with scheduler.database.transaction() as session:
        (team,) = (t["id"] for t in service.get("/v1/teams").json()["items"] if t["name"] == "team-a")
        rows = [{"budget_bytes": b * MIB, "peak_bytes": b * MIB - 1} for b in budgets]
        document = {"plan": None, "alternatives": rows}
        request = {"model": "s2a_tiny", "budget_bytes": MIB}
        session.add(Plan(team_id=team, request=request, document=document, status=PlanStatus.INFEASIBLE))
    details = refused(service)["details"]
    if nearest is None:
        assert details["nearest_budget_bytes"] is None
        assert details["min_feasible_budget_bytes"] == 160 * MIB
    else:
        assert details["nearest_budget_bytes"] == nearest * MIB
        assert details["nearest_plan"]["peak_bytes"] == nearest * MIB - 1


def test_a_job_that_names_no_device_is_measured_by_the_gpus_where_there_are_some(
    service: TestClient, submit: Any, scheduler: Scheduler
) -> None:
    executor: Any = scheduler.executor
    executor.readings = [
        DeviceReading("w", "cpu", "cpu", 8192 * MIB),
        DeviceReading("w", "cuda", "cuda:0", 2048 * MIB),
    ]
    scheduler.tick()
    assert refused(service, budget="4GiB")["details"]["largest_bytes"] == 2048 * MIB - Settings().cuda_reserve_bytes
    submit(budget="4GiB", device="cpu")
