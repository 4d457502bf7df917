"""The scheduler's statements, on both databases."""

from __future__ import annotations

from typing import Any

from app.models import Attempt, Job, JobStatus, Team
from app.store import attempts, jobs, queue
from app.store.database import Database


def add_job(session: Any, team: str, **values: Any) -> Job:
    job = Job(team_id=team, request={"model": "s2a_tiny"}, budget_bytes=100, **values)
    return jobs.add(session, job)


def test_waiting_jobs_come_with_their_model_and_without_those_that_run(database: Database) -> None:
    with database.transaction() as session:
        team = Team(name="t")
        session.add(team)
        session.flush()
        waiting = add_job(session, team.id)
        add_job(session, team.id, status=JobStatus.RUNNING)
        (row,) = queue.waiting(session)
        assert (row.id, row.model, row.budget_bytes) == (waiting.id, "s2a_tiny", 100)
        assert queue.lock_queued(session, waiting.id) is waiting
        assert queue.lock_running(session, waiting.id) is None
        assert [t.name for t in queue.teams(session)] == ["t"]


def test_a_reason_is_written_while_the_job_is_queued_and_changes_no_version(database: Database) -> None:
    with database.transaction() as session:
        team = Team(name="t")
        session.add(team)
        session.flush()
        waiting, running = add_job(session, team.id), add_job(session, team.id, status=JobStatus.RUNNING)
        queue.explain(session, [queue.Waited(j.id, {"code": "x"}, 3, 9.5) for j in (waiting, running)])
        for job in (waiting, running):
            session.refresh(job)
        assert (waiting.reason, waiting.position, waiting.eta_at, waiting.version) == ({"code": "x"}, 3, 9.5, 1)
        assert (running.reason, running.position) == (None, None)


def test_use_and_run_times_and_progress_are_those_of_the_right_jobs(database: Database) -> None:
    with database.transaction() as session:
        team = Team(name="t")
        session.add(team)
        session.flush()
        done = add_job(session, team.id, status=JobStatus.SUCCEEDED, started_at=10.0, ended_at=30.0)
        running = add_job(session, team.id, status=JobStatus.RUNNING)
        for job, is_live in ((done, False), (running, True)):
            session.add(
                Attempt(
                    job_id=job.id,
                    epoch=1,
                    token_hash="",
                    reserved_bytes=7,
                    is_live=is_live,
                    started_at=10.0,
                    ended_at=30.0,
                )
            )
        session.flush()
        assert queue.used_since(session, 20) == [(team.id, 7, 10.0, 30.0)]
        assert queue.used_since(session, 30) == []
        assert queue.run_times(session) == [(team.id, "s2a_tiny", 10.0, 30.0)]
        for step in (1, 5):
            jobs.add_event(session, running, "step", {"step": step, "total_steps": 20})
        assert queue.progress(session, [running.id, done.id]) == {running.id: 0.25}
        assert [a.job_id for a, _ in attempts.live(session)] == [running.id]
