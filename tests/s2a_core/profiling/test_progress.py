"""A profile says how far it is, in order and with the time that is left."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from s2a_core.profiling import profile
from s2a_core.profiling.progress import listener, with_progress


def test_a_profile_tells_a_callback_the_sites_measured_and_the_seconds_left(vit: nn.Module) -> None:
    events: list[dict[str, Any]] = []
    measured = profile(vit, 32, 2, has_baselines=False, refine_s=0.0, progress=events.append)
    assert {(e["type"], e["phase"]) for e in events} == {("stage", "profiling"), ("progress", "profiling")}
    stages = [e["message"] for e in events if e["type"] == "stage"]
    assert "finding what the model keeps for backward" in stages
    assert "measuring an evaluation step" in stages
    assert stages[-1] == "telling sites of one shape apart"
    events = [e for e in events if e["type"] == "progress"]
    assert len(events) > 1
    assert [e["done"] for e in events] == sorted({e["done"] for e in events})
    assert all(0 < e["done"] <= e["total"] and e["eta_s"] >= 0 for e in events)
    assert events[-1]["done"] == events[-1]["total"] == len(measured.sites)
    assert events[-1]["eta_s"] == 0


def test_true_writes_lines_to_stderr_and_nothing_is_the_default(
    vit: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    listener(False)({"type": "progress"})
    assert capsys.readouterr() == ("", "")
    profile(vit, 32, 2, has_baselines=False, refine_s=0.0, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert all(line.startswith("profiling: ") for line in lines)
    assert lines[0] == "profiling: finding what the model keeps for backward"
    assert any(line.startswith("profiling: site ") for line in lines)


def test_the_time_left_is_the_mean_time_of_a_group_for_those_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0, 106.0, 109.0])
    monkeypatch.setattr("s2a_core.profiling.progress.time.perf_counter", lambda: next(clock))
    events: list[dict[str, Any]] = []
    assert list(with_progress([[1, 2, 3], [4], [5]], events.append)) == [[1, 2, 3], [4], [5]]
    assert [(e["done"], e["total"], e["eta_s"]) for e in events] == [(3, 5, 4.0), (4, 5, 3.0), (5, 5, 0.0)]
