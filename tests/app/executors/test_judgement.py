"""Every way an attempt can end is told apart and charged to whose fault it was, within that budget."""

from __future__ import annotations

import pytest

from app.executors.base import Look, ProcessState
from app.executors.judgement import Fault, after, ending
from app.models import Attempt, Job
from app.models.tables import AttemptState, JobStatus
from app.settings import Settings

SETTINGS = Settings(lease_s=60, stuck_s=100, exit_s=10, max_infra_retries=3, max_own_retries=1, max_host_kills=2)
NOW = 1000.0


def job(status: str = "running") -> Job:
    return Job(id="j", status=status, infra_retries=0, own_retries=0, oom_retries=0, host_kills=0)


def attempt(**changes: object) -> Attempt:
    fields = {"state": "running", "epoch": 2, "heartbeat_at": NOW, "lease_expires_at": NOW + 1, "progress_at": NOW}
    return Attempt(id="att", job_id="j", token_hash="", reserved_bytes=1, **{**fields, **changes})


RUNNING, GONE = Look(ProcessState.RUNNING), Look(ProcessState.GONE)


@pytest.mark.parametrize(
    ("status", "changes", "look", "code", "fault"),
    [
        ("running", {}, RUNNING, None, None),
        ("running", {}, Look(ProcessState.UNKNOWN), None, None),
        ("running", {}, GONE, "process_gone", Fault.INFRASTRUCTURE),
        ("running", {}, Look(ProcessState.GONE, -9), "process_gone", Fault.INFRASTRUCTURE),
        ("running", {}, Look(ProcessState.GONE, 143), "terminated", Fault.INFRASTRUCTURE),
        ("running", {"handle": {"service_stopped_at": NOW - 9}}, GONE, "service_stopped", Fault.SERVICE),
        (
            "running",
            {"handle": {"service_stopped_at": NOW - 9}},
            Look(ProcessState.HOST_GONE),
            "service_stopped",
            Fault.SERVICE,
        ),
        ("running", {"handle": {"service_stopped_at": NOW - 9}}, RUNNING, None, None),
        ("running", {"handle": {"service_stopped_at": NOW - 61}}, GONE, "process_gone", Fault.INFRASTRUCTURE),
        ("running", {}, Look(ProcessState.GONE, -11), "crashed", Fault.OWN),
        ("running", {}, Look(ProcessState.HOST_GONE), "host_gone", Fault.HOST),
        ("running", {"lease_expires_at": NOW - 1}, RUNNING, "lease_expired", Fault.INFRASTRUCTURE),
        ("running", {"lease_expires_at": NOW - 1}, Look(ProcessState.UNKNOWN), "lease_expired", Fault.INFRASTRUCTURE),
        ("running", {"progress_at": NOW - 101}, RUNNING, "stuck", Fault.OWN),
        ("cancelling", {}, RUNNING, "cancelling", None),
        ("pausing", {}, GONE, "pausing", None),
        ("succeeded", {"state": "ended", "ended_at": NOW - 1}, RUNNING, None, None),
        ("succeeded", {"state": "ended", "ended_at": NOW - 1}, GONE, "over", None),
        ("succeeded", {"state": "ended", "ended_at": NOW - 11}, RUNNING, "over", None),
        ("running", {"state": "lost", "ended_at": NOW}, RUNNING, "over", None),
    ],
)
def test_why_an_attempt_ends(
    status: str, changes: dict[str, object], look: Look, code: str | None, fault: Fault | None
) -> None:
    why = ending(job(status), attempt(**changes), look, NOW, SETTINGS)
    assert (why.code if why else None, why.fault if why else None) == (code, fault)


@pytest.mark.parametrize(
    ("fault", "field", "allowed"),
    [
        (Fault.INFRASTRUCTURE, "infra_retries", 3),
        (Fault.OWN, "own_retries", 1),
        (Fault.MEMORY, "oom_retries", 3),
        (Fault.HOST, "host_kills", 1),
    ],
)
def test_each_fault_has_a_budget_of_its_own(fault: Fault, field: str, allowed: int) -> None:
    charged = job()
    reason = {"code": "why", "message": "because", "details": {"attempt": 1}}
    for count in range(1, allowed + 1):
        after(charged, fault, reason, SETTINGS)
        assert (charged.status, getattr(charged, field)) == (JobStatus.QUEUED, count)
    told = after(charged, fault, reason, SETTINGS)
    assert charged.status == JobStatus.FAILED
    assert told["details"]["allowed"] == allowed
    assert told["code"] == ("host_killed" if fault == Fault.HOST else "why")
    others = {"infra_retries", "own_retries", "oom_retries", "host_kills"} - {field}
    assert all(getattr(charged, other) == 0 for other in others)


@pytest.mark.parametrize("fault", [Fault.NEIGHBOUR, Fault.SERVICE])
def test_a_neighbours_fault_and_an_orderly_stop_are_charged_to_nobody(fault: Fault) -> None:
    charged = job()
    for _ in range(10):
        after(charged, fault, {"code": "out_of_memory", "message": "m"}, SETTINGS)
    assert charged.status == JobStatus.QUEUED
    assert charged.oom_retries == charged.infra_retries == charged.own_retries == charged.host_kills == 0


def test_a_lost_attempt_may_not_write(tmp_path: object) -> None:
    from app.store.attempts import may_write

    lost = attempt(is_live=True, state=AttemptState.LOST)
    assert not may_write(lost)
    assert may_write(attempt(is_live=True))
