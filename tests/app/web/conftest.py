"""A browser without a browser: a signed-in client that follows forms."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from httpx import Response

CSRF = re.compile(r'name="csrf-token" content="([0-9a-f]+)"')
Send = Callable[..., Response]


@pytest.fixture
def key(service: TestClient) -> str:
    """An admin's key; the client no longer sends it by itself."""
    return str(service.headers.pop("Authorization").split()[1])


@pytest.fixture
def pages(service: TestClient, key: str) -> TestClient:
    """A client with a session."""
    answer = service.post("/sign-in", data={"key": key}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return service


@pytest.fixture
def send(pages: TestClient) -> Send:
    """send(path, **fields) posts a form with the session's CSRF token and follows where it leads."""

    def call(path: str, **fields: str) -> Response:
        found = CSRF.search(pages.get("/").text)
        assert found
        return pages.post(path, data={"csrf": found[1], **fields})

    return call


PREDICTED = {"peak_bytes": 20 * 2**20, "breakdown": {"weights": 2**20, "held": 19 * 2**20}, "gradient_error": 0.02}
PLAN = {
    "model": "s2a_tiny",
    "adapter": "bias,prompt",
    "precision": "fp32",
    "frozen_weights": "keep",
    "micro_batch": 8,
    "accumulation": 8,
    "mean_bits": 4.0,
    "sites": [{"name": f"blocks.{i}.mlp.act:gelu", "storage": "b2"} for i in range(3)],
    "predicted": {**PREDICTED, "relative_step_time": 1.1},
    "frontier": [],
    "baselines": [{"name": "full", "peak_bytes": 90 * 2**20}],
}


@pytest.fixture
def runner(service: TestClient) -> Callable[[str], None]:
    """runner(job) writes what a process that trains would have said."""

    def act(job_id: str) -> None:
        from app.models.tables import Event, Job, JobStatus, Metric

        steps = [{"step": n, "total_steps": 10, "loss": 2.0 / n, "images_per_s": 90.0} for n in (1, 2, 3)]
        said = [("phase", {"name": "training"}), ("plan", {"plan": PLAN})]
        said += [("step", {**step, "peak_bytes": 18 * 2**20}) for step in steps]
        with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
            job = session.get(Job, job_id)
            job.status, job.reason, job.phases = JobStatus.RUNNING, None, [{"name": "training", "started_at": 1.0}]
            for number, (kind, payload) in enumerate(said, 2):
                session.add(Event(job_id=job_id, seq=number, epoch=1, type=kind, payload=payload))
            for step in steps:
                session.add(Metric(job_id=job_id, name="step.loss", step=step["step"], value=step["loss"]))

    return act
