"""Of a report the job keeps what is short, and the table of predictions its pair of peaks."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.models import Job
from app.queue.scheduler import Scheduler
from app.services.outcomes import brief, pair_of

REPORT = {
    "model": "s2a_tiny",
    "adapter": {"kinds": ["bias", "prompt"]},
    "device": "cpu",
    "precision": "fp32",
    "predicted_peak_bytes": 1000,
    "measured_peak_bytes": 980,
    "memory_timeline": [[step, 1000] for step in range(5000)],
}


def test_long_parts_are_left_to_the_artifact() -> None:
    short = brief(REPORT)
    assert short is not None
    assert short["left_out"] == ["memory_timeline"]
    assert "memory_timeline" not in short
    assert brief(None) is None


def test_a_report_without_both_peaks_makes_no_pair() -> None:
    job = Job(id="job_1", request={"model": "m"})
    assert pair_of(job, {**REPORT, "measured_peak_bytes": None}) is None
    assert pair_of(job, {**REPORT, "predicted_peak_bytes": 0}) is None


def test_a_finished_job_is_in_the_accuracy(
    service: TestClient, scheduler: Scheduler, executor: Any, submit: Any
) -> None:
    job = submit()
    scheduler.tick()
    (launched,) = executor.launched
    url = f"/v1/runner/attempts/{launched['attempt']}/state"
    word = {"status": "succeeded", "report": REPORT}
    said = service.post(url, json=word, headers={"Authorization": f"Bearer {launched['token']}"})
    assert said.status_code == 200, said.text
    (pair,) = service.get("/v1/accuracy").json()["items"]
    assert (pair["source"], pair["adapter"], pair["error"]) == (job, "bias,prompt", -0.02)
    assert service.get(f"/v1/jobs/{job}").json()["report"]["left_out"] == ["memory_timeline"]
