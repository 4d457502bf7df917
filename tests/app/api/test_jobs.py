"""Events replay from any number, as a list and as a stream that ends with its job."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient


def test_a_stream_replays_after_the_last_event_id_and_ends(service: TestClient, submit: Any) -> None:
    job = submit()
    service.post(f"/v1/jobs/{job}/cancel")
    stream = {"Accept": "text/event-stream"}
    whole = service.get(f"/v1/jobs/{job}/events", headers=stream).text
    assert whole.count("id: ") == 2
    assert whole.rstrip().endswith("event: end\ndata: {}")
    rest = service.get(f"/v1/jobs/{job}/events", headers={**stream, "Last-Event-ID": "1"}).text
    assert "event: queued" not in rest
    assert "event: cancelled" in rest


def test_metrics_are_the_epochs(service: TestClient, submit: Any) -> None:
    assert service.get(f"/v1/jobs/{submit()}/metrics").json() == {"items": []}
