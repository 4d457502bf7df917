"""Ten thousand jobs: a page is there within 50 ms at p99, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert

from app.main import create_app
from app.models import Job
from app.settings import Settings

NUM_JOBS = 10_000
STATUSES = ("succeeded", "failed", "cancelled", "queued", "paused")
pytestmark = pytest.mark.slow


@pytest.fixture
def crowded(tmp_path: Path, database_url: str) -> Iterator[TestClient]:
    settings = Settings(
        data_dir=tmp_path, database_url=database_url, run_scheduler=False, run_workers=False, rate_per_s=0
    )
    app = create_app(settings)
    with TestClient(app) as client:
        client.headers["Authorization"] = f"Bearer {app.state.services.keys.create('team-a', 'write')}"
        team = client.get("/v1/teams").json()["items"][0]["id"]
        rows = [
            {
                "id": f"job_{number:012x}",
                "team_id": team,
                "request": {"model": "vit_base_patch16_224", "data": "digits", "epochs": 3},
                "budget_bytes": 2**30,
                "status": STATUSES[number % 5],
                "phases": [{"name": "training", "started_at": 1.0, "ended_at": 2.0}],
                "report": {"accuracy": 0.9, "measured_peak_bytes": 2**29},
                "created_at": 1e9 + number // 3,
            }
            for number in range(NUM_JOBS)
        ]
        with app.state.database.transaction() as session:
            session.execute(insert(Job), rows)
        yield client


def walk(crowded: TestClient) -> tuple[list[float], set[str]]:
    """(seconds of each page, ids of every job) of one walk through all jobs."""
    taken: list[float] = []
    seen: set[str] = set()
    after = None
    for _ in range(NUM_JOBS // 50):
        params: dict[str, str | int] = {"limit": 50, **({"after": after} if after else {})}
        start = time.perf_counter()
        answer = crowded.get("/v1/jobs", params=params)
        taken.append(time.perf_counter() - start)
        page = answer.json()
        seen |= {job["id"] for job in page["items"]}
        after = page["next"]
    assert after is None
    return sorted(taken), seen


def test_pages_stay_fast_and_complete(crowded: TestClient) -> None:
    """The best of three walks: what else the machine does can only add to the times."""
    walks = [walk(crowded) for _ in range(3)]
    assert all(len(seen) == NUM_JOBS for _, seen in walks)
    p99_ms = [1e3 * taken[int(0.99 * (len(taken) - 1))] for taken, _ in walks]
    assert min(p99_ms) <= 50, f"p99 of three walks: {p99_ms} ms"


def test_a_page_of_one_status(crowded: TestClient) -> None:
    page = crowded.get("/v1/jobs", params={"status": "paused", "limit": 50}).json()
    assert {job["status"] for job in page["items"]} == {"paused"}
    assert len(page["items"]) == 50
