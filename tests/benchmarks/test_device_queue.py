"""The table of jobs that share a device counts what it is for: who succeeded, inside what, and who ran beside whom."""

from __future__ import annotations

from typing import Any

from benchmarks.device_queue import is_kept, markdown

MIB = 2**20
JOB: dict[str, Any] = {
    "status": "succeeded", "attempts": 1, "started_s": 0.0, "planned_s": 20.0, "ended_s": 60.0,
    "reserved_bytes": 600 * MIB, "held_bytes": 590 * MIB, "most_beside": 2,
}  # fmt: skip


def test_the_table_says_who_was_inside_its_reservation_and_who_started_before_an_end() -> None:
    late = {**JOB, "started_s": 61.0, "ended_s": 90.0, "planned_s": None, "held_bytes": 601 * MIB, "most_beside": 0}
    text = markdown({"two jobs": {"commit": "abc", "jobs": [JOB, late]}})
    assert (
        "On abc: 2 of 2 succeeded, 1 held no more than their reservation once it was planned; 3 ran at once, "
        "1 were started before the first had ended." in text
    )
    assert "| 1 | 0 | 20 | 60 | 900, 600 | 590 | 2 | succeeded |" in text
    assert "| 2 | 61 |  | 90 | 900, 600 | 601 | 0 | succeeded |" in text


def test_a_job_that_failed_or_passed_its_reservation_or_was_not_seen_on_the_device_fails_the_command() -> None:
    assert is_kept([JOB, JOB])
    for change in ({"status": "failed"}, {"attempts": 2}, {"held_bytes": 601 * MIB}, {"held_bytes": None}):
        assert not is_kept([JOB, {**JOB, **change}])
