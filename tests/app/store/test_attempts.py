"""Reserved memory is what live attempts hold."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.store import attempts, jobs


def test_an_attempt_reserves_its_budget_until_it_ends(service: TestClient, submit: Any) -> None:
    job_id = submit(budget=1000)
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        job = jobs.find(session, job_id)
        assert job is not None
        attempt = attempts.claim(session, job, "hash")
        assert (attempt.epoch, job.current_epoch) == (1, 1)
        assert attempts.find(session, attempt.id) is attempt
        assert [(held.reserved_bytes, owner.id) for held, owner in attempts.live(session)] == [(1000, job_id)]
        attempts.end(attempt, "over")
        session.flush()
        assert attempts.live(session) == []
