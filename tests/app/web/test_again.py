"""A job that is over can be run again as it was, and with the budget that would have done."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.models.tables import Job, JobStatus
from app.web.again import again, prefilled
from tests.app.web.conftest import Send

FIELDS = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB", "epochs": "2", "objective": "accuracy"}


@pytest.mark.parametrize(
    ("status", "details", "suggested", "why"),
    [
        ("failed", {"min_feasible_budget_bytes": 90}, 90, "the smallest budget that fits"),
        ("failed", {"measured_peak_bytes": 100}, 105, "what it took, and 5 % more"),
        ("failed", {}, None, ""),
        ("succeeded", {"measured_peak_bytes": 100}, None, ""),
    ],
)
def test_the_next_budget_is_the_smallest_that_is_known_to_fit(
    status: str, details: dict[str, int], suggested: int | None, why: str
) -> None:
    job: dict[str, Any] = {"request": {"model": "m", "dataset": "ds", "epochs": 2}, "budget_bytes": 64}
    job |= {"status": status, "reason": {"details": details}, "name": "n", "priority": "low"}
    repeat = again(job)
    assert (repeat.suggested_bytes, repeat.why) == (suggested, why)
    assert repeat.fields == {"model": "m", "epochs": "2", "name": "n", "priority": "low"}
    assert prefilled({**job, "budget_bytes": 2**26})["budget"] == "64MiB"


def test_a_failed_job_offers_all_three_and_its_log(pages: TestClient, send: Send) -> None:
    path = send("/jobs", **FIELDS, name="first").url.path
    job_id = path.rsplit("/", 1)[1]
    assert "Run again" not in pages.get(path).text
    reason = {"code": "infeasible_budget", "message": "no", "details": {"min_feasible_budget_bytes": 70 * 2**20 + 1}}
    services = pages.app.state.services  # type: ignore[attr-defined]
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        job = session.get(Job, job_id)
        job.status, job.reason, job.current_epoch = JobStatus.FAILED, reason, 1
        job.phases = [{"name": "validating", "started_at": 1.0, "ended_at": 2.0}]
        job.phases = [*job.phases, {"name": "planning", "started_at": 2.0, "ended_at": 5.0}]
    folder = services.results.data_dir / "jobs" / job_id
    folder.mkdir(parents=True)
    (folder / "attempt-1.log").write_text("x" * 40_000 + "<the end>")
    text = pages.get(path).text
    assert 'name="budget" required value="71MiB"' in text
    assert "the smallest budget that fits" in text
    assert "&lt;the end&gt;" in text
    assert len(text) < 60_000
    assert "failed after 3 s" in text
    assert text.count('class="stopped"') == 1
    assert "ended before one was made, while planning" in text
    like = pages.get(f"/jobs/new?like={job_id}").text
    assert 'value="first"' in like
    assert 'value="64MiB"' in like
    repeated = send("/jobs", **again(services.jobs.get(_caller(pages), job_id)).fields, budget="71MiB")
    assert repeated.url.path.startswith("/jobs/job_")
    assert repeated.url.path != path


def _caller(pages: TestClient) -> Any:
    from app.services.keys import Caller

    return Caller("", frozenset({"admin"}))
