"""The queue fills the capacity and no more, and loses no job when processes vanish."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.queue.scheduler import Scheduler
from app.settings import Settings
from tests.app.conftest import PretendExecutor


def status(service: TestClient, job: str) -> str:
    return str(service.get(f"/v1/jobs/{job}").json()["status"])


def test_jobs_share_the_capacity_and_the_rest_waits_with_a_reason(
    service: TestClient, submit: Any, scheduler: Scheduler
) -> None:
    fits, too_large, small = submit(budget="60MiB"), submit(budget="60MiB"), submit(budget="30MiB")
    scheduler.tick()
    assert [status(service, job) for job in (fits, too_large, small)] == ["running", "queued", "running"]
    reason = service.get(f"/v1/jobs/{too_large}").json()["reason"]
    assert reason["code"] == "waiting_for_memory"
    assert reason["details"]["needs_bytes"] == 60 * 2**20


def test_a_higher_priority_starts_first(
    submit: Any, scheduler: Scheduler, service: TestClient, executor: PretendExecutor
) -> None:
    low, high = submit(budget="90MiB", priority="low"), submit(budget="90MiB", priority="high")
    scheduler.tick()
    assert (status(service, low), status(service, high)) == ("queued", "running")


def test_a_vanished_process_is_tried_again_and_after_some_tries_the_job_fails(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor, settings: Settings
) -> None:
    job = submit()
    for _ in range(settings.max_infra_retries + 1):
        scheduler.tick()
        executor.dead.add(executor.launched[-1]["pid"])
        scheduler.tick()
    assert status(service, job) == "failed"
    assert service.get(f"/v1/jobs/{job}").json()["reason"]["code"] == "process_gone"
    assert len(executor.launched) == settings.max_infra_retries + 1


def test_cancelling_kills_the_process_and_frees_its_memory(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job, waiting = submit(budget="90MiB"), submit(budget="90MiB")
    scheduler.tick()
    assert service.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelling"
    scheduler.tick()
    assert executor.killed == [1]
    assert (status(service, job), status(service, waiting)) == ("cancelled", "running")


def test_a_restarted_scheduler_adopts_running_processes(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor, settings: Settings
) -> None:
    job = submit()
    scheduler.tick()
    Scheduler(scheduler.database, settings, executor).tick()
    assert len(executor.launched) == 1
    assert status(service, job) == "running"
