"""What Prometheus reads: latency by route, and figures of jobs, memory and predictions."""

from __future__ import annotations

import json
import re
from pathlib import Path
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


def test_a_method_nobody_knows_makes_no_label_of_its_own(service: TestClient) -> None:
    for name in ("ONE", "TWO"):
        service.request(name, "/v1/jobs")
    text = service.get("/metrics").text
    assert value(text, 's2a_http_request_seconds_count{method="other",route="/v1/jobs",status="405"}') == 2
    assert 'method="ONE"' not in text


def test_the_dashboard_asks_for_metrics_that_exist(service: TestClient) -> None:
    service.get("/v1/jobs")
    text = service.get("/metrics").text
    dashboard = json.loads((Path(__file__).parents[2] / "docker" / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) >= 10
    for expression in asked:
        for name in re.findall(r"s2a_[a-z_]+", expression):
            family = re.sub(r"_(bucket|count|sum)$", "", name)
            assert f"# TYPE {family} " in text, expression
