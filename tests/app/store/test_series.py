"""Numbers of steps and epochs become points; what is no number does not."""

from __future__ import annotations

from app.models import Attempt, Checkpoint, Job, Metric, Team
from app.store import series
from app.store.database import Database


def test_points_of_events() -> None:
    step = {"step": 3, "total_steps": 9, "loss": 0.5, "ok": True, "name": "x", "bad": float("nan")}
    assert list(series.points_of("step", step)) == [("step.loss", 3, 0.5)]
    assert list(series.points_of("log", {"step": 1, "loss": 1.0})) == []
    assert list(series.points_of("epoch", {"loss": 1.0})) == []


def test_a_long_series_is_thinned_evenly_to_its_newest_point(database: Database) -> None:
    with database.transaction() as session:
        session.add(Team(id="team_1", name="a"))
        session.flush()
        session.add(Job(id="job_1", team_id="team_1", request={"model": "m"}, budget_bytes=1))
        session.flush()
        for name, steps in (("step.loss", 95), ("step.peak_bytes", 95), ("epoch.val_loss", 4)):
            session.add_all(Metric(job_id="job_1", name=name, step=1 + i, value=1.0) for i in range(steps))
    with database.reading() as session:
        found = series.metrics(session, "job_1", None, -1, 30)
        steps = {name: [p.step for p in found if p.name == name] for name in {p.name for p in found}}
        assert steps["epoch.val_loss"] == [1, 2, 3, 4]
        assert steps["step.loss"] == steps["step.peak_bytes"] == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
        assert [(p.step, p.name) for p in found] == sorted((p.step, p.name) for p in found)
        assert [p.step for p in series.metrics(session, "job_1", "step.loss", 90, 3)] == [91, 93, 95]
        assert [p.step for p in series.metrics(session, "job_1", None, -1, 1)] == [95]


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
