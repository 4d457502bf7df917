"""Use is the sum of reservations, of ended ones and of live ones up to this moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.models import Attempt, Device, Job, JobStatus, Team
from app.queue.ledger import DEFAULT_RUN_S, Ledger
from app.queue.policy import Rules
from app.queue.policy.facts import decayed
from app.store import attempts, jobs, owned
from app.store.database import Database

NOW = 1e6
RULES = Rules()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    with database.transaction() as found:
        found.add(Team(id="t", name="team", weight=2.0, quota_jobs=3))
        found.flush()
        yield found
    database.close()


def add(session: Session, name: str, status: JobStatus, start: float, end: float | None, num_bytes: int = 100) -> Job:
    job = Job(id=name, team_id="t", request={"model": "m"}, budget_bytes=num_bytes, status=status, created_at=start)
    job.started_at, job.ended_at = start, end
    jobs.add(session, job)
    if status != JobStatus.QUEUED:
        is_live = end is None
        values = {"started_at": start, "ended_at": end, "is_live": is_live, "reserved_bytes": num_bytes}
        session.add(Attempt(job_id=name, epoch=1, token_hash="", **values))
        session.flush()
    return job


def test_a_teams_use_is_what_its_ended_and_live_reservations_took(session: Session) -> None:
    add(session, "done", JobStatus.SUCCEEDED, NOW - 5000, NOW - 2000)
    add(session, "live", JobStatus.RUNNING, NOW - 1000, None, 50)
    ledger = Ledger(RULES)
    lives = ledger.lives(session, attempts.live(session), [], NOW)
    team = ledger.teams(session, lives, NOW)["t"]
    ended = decayed(100, NOW - 5000, NOW - 2000, NOW, RULES.half_life_s)
    live = decayed(50, NOW - 1000, NOW, NOW, RULES.half_life_s)
    assert team.used == pytest.approx(ended + live)
    assert team.used_today == pytest.approx(100 * 3000 + 50 * 1000)
    assert (team.name, team.weight, team.quota_jobs) == ("team", 2.0, 3)


def test_use_that_was_read_before_fades_until_it_is_read_again(session: Session) -> None:
    add(session, "done", JobStatus.SUCCEEDED, NOW - 5000, NOW - 2000)
    ledger = Ledger(RULES)
    ledger.lives(session, [], [], NOW)
    before = ledger.teams(session, [], NOW)["t"].used
    later = NOW + 30
    ledger.lives(session, [], [], later)
    assert ledger.teams(session, [], later)["t"].used == pytest.approx(before * 2 ** (-30 / RULES.half_life_s))


def test_run_times_are_the_median_of_the_model(session: Session) -> None:
    ledger = Ledger(RULES)
    assert ledger.run_s("t", "m") == DEFAULT_RUN_S
    for index, took in enumerate((100, 300, 200)):
        add(session, f"j{index}", JobStatus.SUCCEEDED, NOW - 5000, NOW - 5000 + took)
    ledger.lives(session, [], [], NOW)
    assert ledger.run_s("t", "m") == 200
    assert ledger.run_s("other", "m") == 200
    assert ledger.run_s("t", "unknown") == DEFAULT_RUN_S


def test_a_job_that_is_being_stopped_frees_its_memory_soon_and_progress_moves_an_end(session: Session) -> None:
    add(session, "stops", JobStatus.CANCELLING, NOW - 50, None)
    runs = add(session, "runs", JobStatus.RUNNING, NOW - 100, None)
    jobs.add_event(session, runs, "step", {"step": 1, "total_steps": 4})
    lives = {live.job_id: live for live in Ledger(RULES).lives(session, attempts.live(session), [], NOW)}
    assert (lives["stops"].is_stopping, lives["stops"].ends_at) == (True, NOW + 1)
    assert lives["runs"].ends_at == pytest.approx(NOW + 300)


def test_a_plan_reserves_its_peak_with_a_margin_and_a_gpu_is_taken_where_there_is_one(session: Session) -> None:
    job = add(session, "planned", JobStatus.QUEUED, time.time(), None, 1000)
    job.planned_peak_bytes = 500
    session.flush()
    device = owned.add(session, Device(worker="w", kind="cuda", name="cuda:0", capacity_bytes=5000))
    (waiting,) = Ledger(RULES).waiting(session, [device])
    assert (waiting.peak_bytes, waiting.limit_bytes, waiting.kind) == (515, 1000, "cuda")
    assert Ledger(RULES).waiting(session, [])[0].kind is None
