"""Pages of jobs are complete and without repeats; events are numbered within their job."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient


def test_pages_list_every_job_once_newest_first(service: TestClient, submit: Any) -> None:
    made = [submit() for _ in range(5)]
    seen, after = [], None
    while True:
        page = service.get("/v1/jobs", params={"limit": 2, **({"after": after} if after else {})}).json()
        seen += [job["id"] for job in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == made[::-1]


def test_events_count_from_one_in_each_job(service: TestClient, submit: Any) -> None:
    for job in (submit(), submit()):
        assert [e["seq"] for e in service.get(f"/v1/jobs/{job}/events").json()["items"]] == [1]
