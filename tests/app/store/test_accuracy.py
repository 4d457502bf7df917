"""Pairs are filtered by device and model, newest first."""

from __future__ import annotations

from app.models import PredictionPair
from app.store import accuracy
from app.store.database import Database


def test_pairs(filled: Database) -> None:
    rest = {"adapter": "bias", "precision": "fp32", "predicted_bytes": 1, "measured_bytes": 1, "source": "s"}
    with filled.transaction() as session:
        for model, device in (("a", "cpu"), ("b", "cpu"), ("b", "cuda")):
            accuracy.add(session, PredictionPair(model=model, device=device, **rest))
            session.flush()
        assert [pair.model for pair in accuracy.listed(session, None, "cpu", None, 9)[0]] == ["b", "a"]
        assert [pair.device for pair in accuracy.listed(session, None, None, "b", 1)[0]] == ["cuda"]
        assert accuracy.listed(session, "team_of_nobody", None, None, 9) == ([], None)
