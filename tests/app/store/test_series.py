"""Numbers of steps and epochs become points; what is no number does not."""

from __future__ import annotations

from app.models import Attempt, Checkpoint, Metric
from app.store import series
from app.store.database import Database


def test_points_of_events() -> None:
    step = {"step": 3, "total_steps": 9, "loss": 0.5, "ok": True, "name": "x", "bad": float("nan")}
    assert list(series.points_of("step", step)) == [("step.loss", 3, 0.5)]
    assert list(series.points_of("log", {"step": 1, "loss": 1.0})) == []
    assert list(series.points_of("epoch", {"loss": 1.0})) == []


def test_what_is_listed(filled: Database) -> None:
    with filled.transaction() as session:
        for step in (2, 1):
            session.add(Metric(job_id="job_1", name="step.loss", step=step, value=1.0))
            session.add(Checkpoint(job_id="job_1", attempt_epoch=1, step=step, path="p", num_bytes=1, sha256="s"))
            session.add(Attempt(job_id="job_1", epoch=step, token_hash="h", reserved_bytes=1))
        session.flush()
        assert [point.step for point in series.metrics(session, "job_1", None, -1, 9)] == [1, 2]
        assert series.metrics(session, "job_1", "other", -1, 9) == []
        assert [found.step for found in series.checkpoints(session, "job_1")] == [2, 1]
        assert [found.epoch for found in series.attempts(session, "job_1")] == [2, 1]
