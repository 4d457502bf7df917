"""What Prometheus reads: latency by route, and figures of jobs, memory and predictions."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.models import Device, PredictionPair


def value(text: str, line: str) -> float:
    return float(next(found for found in text.splitlines() if found.startswith(line + " ")).split()[-1])


def test_figures_of_jobs_devices_and_predictions(service: TestClient, submit: Any) -> None:
    service.post(f"/v1/jobs/{submit()}/cancel")
    submit()
    pair = {"model": "m", "adapter": "bias", "device": "cpu", "precision": "fp32", "source": "s"}
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        session.add(Device(worker="w", kind="cpu", name="cpu-0", capacity_bytes=1000))
        session.add(PredictionPair(predicted_bytes=100, measured_bytes=103, **pair))
    text = service.get("/metrics", headers={"Authorization": ""}).text
    assert value(text, 's2a_jobs{status="cancelled"}') == 1
    assert value(text, 's2a_queue_depth{reason="waiting"}') == 1
    assert value(text, 's2a_device_bytes{device="cpu-0",kind="cpu",use="capacity",worker="w"}') == 1000
    assert value(text, 's2a_prediction_error_bucket{le="0.02"}') == 0
    assert value(text, 's2a_prediction_error_bucket{le="0.05"}') == 1
    assert value(text, 's2a_prediction_error_bucket{le="+Inf"}') == 1
    assert (
        value(text, 's2a_http_request_seconds_count{method="POST",route="/v1/jobs/{job_id}/cancel",status="202"}') == 1
    )
    assert "team" not in text
