"""Events replay from any number, as a list and as a stream that ends with its job."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

STREAM = {"Accept": "text/event-stream"}


def test_a_stream_replays_after_the_last_event_id_and_ends(service: TestClient, submit: Any) -> None:
    job = submit()
    service.post(f"/v1/jobs/{job}/cancel")
    whole = service.get(f"/v1/jobs/{job}/events", headers=STREAM)
    assert whole.headers["content-type"].startswith("text/event-stream")
    assert whole.text.count("id: ") == 2
    assert 'event: end\ndata: {"last": 2}' in whole.text
    rest = service.get(f"/v1/jobs/{job}/events", headers={**STREAM, "Last-Event-ID": "1"}).text
    assert "event: queued" not in rest
    assert "event: cancelled" in rest


def test_a_list_says_whether_more_can_follow(service: TestClient, submit: Any) -> None:
    job = submit()
    assert service.get(f"/v1/jobs/{job}/events").json()["has_ended"] is False
    service.post(f"/v1/jobs/{job}/cancel")
    page = service.get(f"/v1/jobs/{job}/events", params={"after": 1}).json()
    assert ([event["type"] for event in page["items"]], page["has_ended"]) == (["cancelled"], True)
    assert service.get("/v1/jobs/job_none/events", headers=STREAM).status_code == 404
