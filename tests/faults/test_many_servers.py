"""Several API processes on PostgreSQL with one scheduler are one service: whichever is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.checks import check
from tests.faults.service import RunningService
from tests.faults.test_faults import EPOCHS, QUICK, trains

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
REQUEST = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB", "epochs": EPOCHS, "seed": 50}


@pytest.fixture
def servers(tmp_path: Path, postgres_url: str) -> Iterator[list[RunningService]]:
    """Two that answer and one that also schedules, on one folder and one database."""
    made: list[RunningService] = []
    for is_scheduler in (False, False, True):
        found = RunningService(tmp_path / "s2a", **QUICK, database_url=postgres_url, run_scheduler=is_scheduler)
        made.append(found.start(made[0].key if made else ""))
    yield made
    for service in made:
        service.stop()


def submitted(service: RunningService, once: str, **changes: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {service.key}", "Idempotency-Key": once}
    return httpx.post(f"{service.url}/v1/jobs", json={**REQUEST, **changes}, headers=headers, timeout=30)


def test_a_job_is_submitted_at_one_and_followed_and_cancelled_at_others(servers: list[RunningService]) -> None:
    first, second, scheduler = servers
    made = [submitted(service, "same") for service in servers]
    assert {answer.status_code for answer in made} == {201}
    (job,) = {answer.json()["id"] for answer in made}
    headers = {"Authorization": f"Bearer {second.key}", "Accept": "text/event-stream"}
    streamed = httpx.get(f"{second.url}/v1/jobs/{job}/events", headers=headers, timeout=60).text
    check(first, job, EPOCHS)
    numbers = [int(line.removeprefix("id: ")) for line in streamed.splitlines() if line.startswith("id: ")]
    assert numbers == [event["seq"] for event in scheduler.events(job)]

    other = submitted(first, "other", epochs=1000).json()["id"]
    trains(second, other, 1)
    second.call("POST", f"/v1/jobs/{other}/cancel")
    check(first, other, 0, "cancelled")

    key = first.call("POST", "/v1/keys", json={"team": "b", "scopes": ["read"]})
    as_b = {"Authorization": f"Bearer {key['key']}"}
    assert httpx.get(f"{second.url}/v1/jobs", headers=as_b).status_code == 200
    assert not httpx.delete(
        f"{second.url}/v1/keys/{key['id']}", headers={"Authorization": f"Bearer {first.key}"}
    ).is_error
    assert [httpx.get(f"{s.url}/v1/jobs", headers=as_b).status_code for s in servers] == [401] * 3
