"""Plans: asked for, taken by a worker, ready or infeasible; jobs are made from them."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.models import Device, Plan
from app.services.children import Stopped
from app.services.plans import PlanWorkQueue, is_better, trade

ASK = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB", "batch_size": 8, "epochs": 2}
PREDICTED = {"peak_bytes": 50 * 2**20, "gradient_error": 0.1, "relative_step_time": 1.0}
PLAN = {
    "model": "s2a_tiny",
    "adapter": "bias",
    "objective": "accuracy",
    "batch_size": 8,
    "image_size": 32,
    "precision": "fp32",
    "device": "cpu",
    "budget_bytes": 64 * 2**20,
    "predicted": PREDICTED,
    "frontier": [{"budget_bytes": 2**25, **PREDICTED, "peak_bytes": 30 * 2**20, "relative_step_time": 1.25}],
}
PROFILE = {"fingerprint": "f1", "device": "cpu", "document": {"sites": []}}


def asked(service: TestClient) -> str:
    answer = service.post("/v1/plans", json={key: value for key, value in ASK.items() if key != "epochs"})
    assert (answer.status_code, answer.json()["status"], answer.json()["reason"]["code"]) == (202, "queued", "waiting")
    return str(answer.json()["id"])


def queue(service: TestClient) -> PlanWorkQueue:
    return PlanWorkQueue(service.app.state.database)  # type: ignore[attr-defined]


def test_a_plan_becomes_ready_and_a_job(service: TestClient) -> None:
    plan_id = asked(service)
    refused = service.post("/v1/jobs", json={"plan": plan_id})
    assert (refused.status_code, refused.json()["details"]) == (409, {"status": "queued"})
    worker = queue(service)
    taken = worker.take()
    assert taken is not None
    assert (taken[0], taken[1]["budget_bytes"], taken[1]["data"]) == (plan_id, 64 * 2**20, "digits")
    assert worker.take() is None
    worker.finish(plan_id, {"status": "ready", "plan": PLAN, "others": [], "profile": PROFILE})
    plan = service.get(f"/v1/plans/{plan_id}").json()
    assert (plan["status"], plan["plan"], plan["profile"]) == ("ready", PLAN, "f1")
    assert plan["alternatives"][0]["summary"] == "20 MiB less memory, the same gradient error, 25 % slower"
    assert service.get("/v1/profiles/f1").json()["device"] == "cpu"
    job = service.post("/v1/jobs", json={"plan": plan_id, "epochs": 2}).json()
    assert (job["plan_id"], job["planned_peak_bytes"], job["budget_bytes"]) == (plan_id, 50 * 2**20, 64 * 2**20)
    assert (job["request"]["adapter"], job["request"]["data"], job["request"]["epochs"]) == ("bias", "digits", 2)
    assert "plan" not in job["request"]
    other: dict[str, Any] = {"plan": plan_id, "model": "vit_tiny_patch16_224"}
    assert service.post("/v1/jobs", json=other).status_code == 422


def test_a_job_of_a_plan_that_auto_chose_asks_for_auto_again(service: TestClient) -> None:
    """The plan's words would not say how wide its branches are."""
    plan_id = asked(service)
    worker = queue(service)
    worker.take()
    made = {**PLAN, "adapter": "bias,norm,side"}
    worker.finish(plan_id, {"status": "ready", "plan": made, "others": [], "profile": PROFILE})
    for adapter in ({}, {"adapter": "bias,norm,side"}):
        job = service.post("/v1/jobs", json={"plan": plan_id, "epochs": 2, **adapter}).json()
        assert job["request"]["adapter"] == "auto"


def test_a_budget_that_cannot_be_met_says_which_one_can(service: TestClient) -> None:
    plan_id = asked(service)
    worker = queue(service)
    worker.take()
    reason = {"code": "infeasible_budget", "message": "nothing fits", "details": {"min_feasible_budget_bytes": 7}}
    worker.finish(plan_id, {"status": "infeasible", "reason": reason, "smallest": PLAN, "profile": PROFILE})
    plan = service.get(f"/v1/plans/{plan_id}").json()
    assert (plan["status"], plan["plan"], plan["reason"]) == ("infeasible", None, reason)
    assert plan["alternatives"][0]["summary"] == "the smallest budget that fits: 64 MiB"


def test_a_plan_whose_worker_died_is_taken_again(service: TestClient) -> None:
    plan_id = asked(service)
    worker = queue(service)
    first = worker.take()
    worker.release(plan_id)
    assert worker.take() == first
    worker.keep(plan_id)
    worker.finish(plan_id, {"status": None, "reason": {"code": "timeout", "message": "late", "details": {}}})
    assert service.get(f"/v1/plans/{plan_id}").json()["status"] == "failed"


def test_what_another_plan_trades() -> None:
    more = {"peak_bytes": 60 * 2**20, "gradient_error": 0.05, "relative_step_time": 0.9}
    assert trade(PREDICTED, more) == "10 MiB more memory, gradient error 0.05 instead of 0.1, 10 % faster"


def test_what_buys_nothing_is_no_alternative() -> None:
    larger = {"peak_bytes": 60 * 2**20, "gradient_error": 0.1, "relative_step_time": 1.0}
    assert not is_better(larger, PREDICTED)
    assert is_better({**larger, "gradient_error": 0.05}, PREDICTED)
    assert is_better({**larger, "relative_step_time": 0.9}, PREDICTED)
    assert is_better({**larger, "peak_bytes": 2**20, "gradient_error": 0.5}, PREDICTED)
    exact = {**PREDICTED, "gradient_error": 3e-7}
    assert not is_better({**larger, "gradient_error": 1e-7}, exact)
    assert trade(exact, {**larger, "gradient_error": 1e-7}) == "10 MiB more memory, exact gradients, the same time"


def test_a_plan_for_a_gpu_waits_for_a_worker_that_has_one(service: TestClient) -> None:
    ask = {key: value for key, value in ASK.items() if key != "epochs"}
    plan = service.post("/v1/plans", json={**ask, "device": "cuda"}).json()
    assert plan["reason"]["message"] == "waits for a worker with a cuda device to profile and plan it"
    database = service.app.state.database  # type: ignore[attr-defined]
    assert PlanWorkQueue(database, {"cpu"}).take() is None
    taken = PlanWorkQueue(database, {"cpu", "cuda"}).take()
    assert taken is not None
    assert taken[0] == plan["id"]
    with database.transaction() as session:
        session.add(Device(worker="w", kind="cpu", name="cpu", capacity_bytes=2**30))
    refused = service.post("/v1/plans", json={**ask, "device": "cuda"})
    assert (refused.status_code, refused.json()["code"]) == (422, "no_device_fits")
    assert refused.json()["title"] == "no device is 'cuda'; there are: cpu"


def test_a_worker_that_lost_its_lease_stops_and_changes_nothing(service: TestClient) -> None:
    plan_id = asked(service)
    late, other = queue(service), queue(service)
    late.take()
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        session.execute(update(Plan).values(lease_expires_at=1.0))
    assert other.take() is not None
    with pytest.raises(Stopped):
        late.keep(plan_id)
    late.release(plan_id)
    assert service.get(f"/v1/plans/{plan_id}").json()["status"] == "running"
    other.keep(plan_id)
    other.finish(plan_id, {"status": "ready", "plan": PLAN, "others": [], "profile": PROFILE})
    assert service.get(f"/v1/plans/{plan_id}").json()["status"] == "ready"
