"""Counts and times behind the metrics."""

from __future__ import annotations

from app.models import Device, Job
from app.store import figures
from app.store.database import Database


def test_counts_and_histograms(filled: Database) -> None:
    with filled.transaction() as session:
        times = {"created_at": 10.0, "started_at": 12.0, "ended_at": 20.0, "status": "succeeded"}
        session.add(Job(team_id="team_1", request={}, budget_bytes=1, **times))
        session.add(Device(worker="w", kind="cpu", name="c", capacity_bytes=9))
        session.flush()
        assert figures.job_counts(session) == {"queued": 1, "succeeded": 1}
        assert figures.queue_depth(session) == {"waiting": 1}
        assert figures.wait_seconds(session, (1.0, 5.0)) == ([0, 1, 1], 2.0)
        assert figures.run_seconds(session, (8.0,)) == ([1, 1], 8.0)
        assert figures.plan_seconds(session, (1.0,)) == ([0, 0], 0.0)
        assert figures.prediction_error(session, (0.0,)) == ([0, 0], 0.0)
        assert [held for _, held in figures.devices(session)] == [0]
