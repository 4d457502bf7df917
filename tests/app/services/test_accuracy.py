"""The distribution of prediction errors."""

from __future__ import annotations

from fastapi.testclient import TestClient

from app.models import PredictionPair
from app.services.accuracy import distribution, quantile


def test_quantiles_are_linear_between_neighbours() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert quantile([7.0], 0.99) == 7.0
    assert distribution([]) == {"count": 0}


def test_pairs_and_their_distribution(service: TestClient) -> None:
    pair = {"model": "m", "adapter": "bias", "precision": "fp32", "source": "s", "predicted_bytes": 1000}
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        for measured, device in ((900, "cpu"), (1000, "cpu"), (1100, "cuda")):
            session.add(PredictionPair(measured_bytes=measured, device=device, **pair))
    found = service.get("/v1/accuracy", params={"limit": 2}).json()
    assert (found["distribution"]["count"], found["distribution"]["p50"]) == (3, 0.0)
    assert abs(found["distribution"]["share_above_prediction"] - 1 / 3) < 1e-9
    assert found["by"]["device"]["cuda"]["count"] == 1
    assert len(found["items"]) == 2
    rest = service.get("/v1/accuracy", params={"limit": 2, "after": found["next"]}).json()
    assert [item["error"] for item in rest["items"]] == [-0.1]
