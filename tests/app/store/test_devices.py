"""Reservations on devices, and the queue in its order."""

from __future__ import annotations

from app.models import Attempt, Device, Job
from app.store import devices
from app.store.database import Database


def test_live_attempts_and_waiting_jobs(filled: Database) -> None:
    with filled.transaction() as session:
        session.add(Device(id="dev_1", worker="w", kind="cpu", name="c", capacity_bytes=9))
        session.add(Job(id="job_2", team_id="team_1", request={}, budget_bytes=1, position=1))
        session.flush()
        session.add(Attempt(job_id="job_1", epoch=1, token_hash="h", reserved_bytes=5, device_id="dev_1"))
        session.add(Attempt(job_id="job_1", epoch=2, token_hash="h", reserved_bytes=5, is_live=False))
        session.flush()
        assert [attempt.epoch for attempt, _ in devices.live(session, ["dev_1"])] == [1]
        assert [job.id for job in devices.queue(session, 9)] == ["job_2", "job_1"]
        assert devices.statuses(session, None) == {"queued": 2}
        assert devices.find(session, "dev_2") is None
        assert len(devices.listed(session, 9, None)[0]) == 1
