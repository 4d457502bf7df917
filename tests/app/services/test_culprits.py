"""The neighbour that took the memory is named: a job above its reservation, or a process of nobody."""

from __future__ import annotations

from app.models import Attempt
from app.services.culprits import culprits


def attempt(pid: int, reserved: int) -> Attempt:
    return Attempt(id=f"att_{pid}", job_id="j", epoch=1, token_hash="", reserved_bytes=reserved, handle={"pid": pid})


def test_jobs_count_above_their_reservation_and_strangers_with_all_they_use() -> None:
    verdict = {"users": {"1": 150, "2": 80, "3": 20}}
    found = culprits(verdict, [(attempt(1, 100), "job_a"), (attempt(2, 100), "job_b")])
    assert [(c["pid"], c["job"], c["excess_bytes"]) for c in found] == [(1, "job_a", 50), (3, None, 20)]
    assert culprits({}, []) == []
