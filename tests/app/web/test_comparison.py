"""Jobs are searched, put in order, chosen and compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.models.tables import Job, JobStatus
from tests.app.web.conftest import Send
from tests.app.web.test_jobs import FIELDS


def job_of(send: Send, **fields: str) -> str:
    return send("/jobs", **{**FIELDS, **fields}).url.path.rsplit("/", 1)[1]


@pytest.fixture
def done(pages: TestClient) -> Callable[[str, float], None]:
    """done(job, accuracy) ends a job with a report."""

    def act(job_id: str, accuracy: float) -> None:
        history = [{"epoch": e, "val_accuracy": accuracy - 0.1 / e, "val_loss": 1.0 / e} for e in (1, 2, 3)]
        report: dict[str, Any] = {"accuracy": accuracy, "measured_peak_bytes": 2**25, "history": history}
        with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
            job = session.get(Job, job_id)
            job.status, job.report, job.started_at, job.ended_at = JobStatus.SUCCEEDED, report, 10.0, 50.0

    return act


def test_chosen_jobs_stand_side_by_side(pages: TestClient, send: Send, done: Callable[[str, float], None]) -> None:
    first, second = job_of(send, name="one", lr="0.001"), job_of(send, name="two", lr="0.01")
    done(first, 0.8)
    done(second, 0.9)
    listed = pages.get("/jobs").text
    assert listed.count('type="checkbox" form="choose" name="job"') == 2
    page = pages.get(f"/jobs/compare?job={first}&job={second}&job={first}").text
    assert re.findall(r"<td>(\d\d\.\d\d %)</td>", page) == ["80.00 %", "90.00 %"]
    assert "<code>lr</code></th><td>0.001</td><td>0.01</td>" in page
    assert "<code>model</code>" not in page
    chart = page[page.index("Validation accuracy of 2 runs") :]
    assert {"line c1", "line c2"} <= set(re.findall(r'class="(line c\d)"', chart))
    assert "data-refresh" not in page


def test_a_job_that_trains_has_its_curve_and_the_page_follows(
    pages: TestClient, send: Send, runner: Callable[[str], None], done: Callable[[str, float], None]
) -> None:
    first, second = job_of(send), job_of(send)
    done(first, 0.8)
    runner(second)
    page = pages.get(f"/jobs/compare?job={first}&job={second}").text
    assert 'data-refresh="5"' in page
    assert "Training loss of 1 runs" in page


def test_fewer_than_two_and_another_teams_job_are_said(pages: TestClient, send: Send) -> None:
    first = job_of(send)
    for path in ("/jobs/compare", f"/jobs/compare?job={first}"):
        assert "Choose at least two jobs" in pages.get(path).text
    assert pages.get(f"/jobs/compare?job={first}&job=job_none").status_code == 404


def test_jobs_are_searched_and_put_in_order(pages: TestClient, send: Send, done: Callable[[str, float], None]) -> None:
    best, worst = job_of(send, name="best of 100%"), job_of(send, name="worst_one")
    done(best, 0.9)
    done(worst, 0.5)

    def order(query: str) -> list[str]:
        return re.findall(r'name="job" value="(job_\w+)"', pages.get(f"/jobs?{query}").text)

    assert order("") == [worst, best]
    assert order("sort=accuracy") == [best, worst]
    assert order("sort=nonsense") == [worst, best]
    assert order("q=100%25+S2A_tiny") == [best]
    assert order("q=worst_&status=succeeded") == [worst]
    assert "has the words <b>&lt;x&gt;</b>" in pages.get("/jobs?q=%3Cx%3E").text
    found = pages.get("/v1/jobs", params={"q": best}).json()["items"]
    assert [job["id"] for job in found] == [best]
    assert pages.get("/v1/jobs", params={"q": "%"}).json()["items"][0]["id"] == best
    assert 'href="/jobs?status=failed&amp;q=a%20b&amp;sort=peak"' in pages.get("/jobs?q=a+b&sort=peak").text
