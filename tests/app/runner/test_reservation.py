"""A process is capped to its reservation, then to its plan's, and the service is told what it gives back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.runner import reservation, work
from tests.app.runner.test_work import PretendLink


def test_a_verified_plan_gives_the_rest_of_the_reservation_back_and_never_takes_it_again(tmp_path: Path) -> None:
    link: Any = PretendLink({"budget_bytes": 1000})
    told = [{"type": "plan", "plan": {"predicted": {"peak_bytes": peak}}} for peak in (200, 600, 100)]
    link.missed_bytes = 10
    for event in told:
        work.tell(link, tmp_path, event)
    given = [(e["reserved_bytes"], e["planned_peak_bytes"]) for e in link.said if e["type"] == "reservation"]
    assert given == [(216, 200), (113, 100)]  # the peak and what earlier plans fell short by, with 3 % of both
    assert link.reserved_bytes == 113


def test_a_process_that_cannot_be_capped_to_its_plan_keeps_its_reservation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservation, "limit_device", lambda _: False)
    link: Any = PretendLink({"budget_bytes": 1000})
    work.tell(link, tmp_path, {"type": "plan", "plan": {"predicted": {"peak_bytes": 200}}})
    assert [e["type"] for e in link.said] == ["plan"]
    assert link.reserved_bytes == 1000
