"""Tables and bars."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from app.cli import tables
from app.cli.terminal import _THEME

JOB = {"id": "job_1", "status": "succeeded", "request": {"model": "[m]", "data": "d"}, "budget_bytes": 2**30}
JOB |= {"created_at": 0.0, "report": {"measured_peak_bytes": 2**29, "predicted_peak_bytes": 2**28, "accuracy": 0.5}}


def text(what: RenderableType) -> str:
    console = Console(width=140, theme=_THEME, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


def test_a_bar_is_as_long_as_its_share() -> None:
    drawn = tables.bar([("a", 25), ("b", 25)], 100, width=40).plain
    assert drawn == "█" * 20 + "░" * 20
    assert tables.bar([("a", 300)], 100, width=10).plain == "█" * 10


def test_jobs_show_memory_accuracy_and_names_as_they_are() -> None:
    shown = text(tables.jobs([JOB]))
    assert "[m]" in shown
    assert "50.0 %" in shown
    assert "+100.0 %" in text(tables.job(JOB))
    assert "next: s2a download job_1" in text(tables.job(JOB))


def test_ages_have_one_unit() -> None:
    assert [tables.age(at, now=100_000.0) for at in (None, 99_990, 99_000, 90_000, 1)] == [
        "",
        "10 s",
        "17 min",
        "3 h",
        "1 d",
    ]


def test_devices_and_plans_say_when_there_is_nothing() -> None:
    assert "no device has reported" in text(tables.devices([]))


def test_jobs_that_wait_or_failed_say_why_and_others_nothing() -> None:
    waits = {**JOB, "status": "queued", "position": 3, "reason": {"message": "needs [x] 2 GiB"}}
    lost = {**JOB, "status": "failed", "position": None, "reason": {"message": "out of memory"}}
    assert [text(line).strip() for line in tables.reasons([JOB, waits, lost])] == [
        "job_1  number 3 in the queue, needs [x] 2 GiB",
        "job_1  out of memory",
    ]


def test_a_device_tells_the_machines_share_from_that_of_strangers() -> None:
    sizes = {"reserve_bytes": 2**29, "baseline_bytes": 0, "used_by_others_bytes": 2**30, "capacity_bytes": 2**32}
    device = {"name": "cuda:0", "kind": "cuda", "worker": "w", "state": "ready", "free_bytes": 2**31, "jobs": []}
    shown = text(tables.devices([{**device, **sizes, "reason": None}]))
    assert "reserve and driver  512 MiB" in shown
    assert "other processes  1,024 MiB" in shown
