"""Quotas count what lives, what starts in this pass, and the last day."""

from __future__ import annotations

from app.queue.policy import Live, Team
from app.queue.policy.quotas import Quotas

MIB = 2**20


def test_each_quota_holds_with_its_numbers() -> None:
    live = Live("l", "t", "d", 60 * MIB, 0, 9)
    jobs = Quotas({"t": Team("t", quota_jobs=2)}, [live])
    assert jobs.exceeded("t", 1) is None
    jobs.take("t", 1)
    assert (jobs.exceeded("t", 1) or ("",))[0] == "quota_jobs"
    held = Quotas({"t": Team("t", quota_bytes=100 * MIB)}, [live]).exceeded("t", 41 * MIB)
    assert held is not None
    assert held[0] == "quota_bytes"
    assert held[1] == "the team holds 60 MiB of its 100 MiB; this job needs 41 MiB"
    day = Quotas({"t": Team("t", used_today=50, quota_byte_seconds_per_day=50)}, [])
    assert (day.exceeded("t", 1) or ("",))[0] == "quota_byte_seconds"


def test_a_team_without_quotas_is_not_held() -> None:
    assert Quotas({"t": Team("t")}, []).exceeded("t", 2**60) is None
    assert Quotas({}, []).exceeded("unknown", 2**60) is None
