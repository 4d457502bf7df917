"""A child's answer is a file, whatever its work raises."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from app.runner.documents import Progress, progress_path, serve
from s2a_core.errors import BadDataset, InfeasibleBudget


def fine(order: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ready", "order": order}


def bad(_: dict[str, Any]) -> dict[str, Any]:
    raise BadDataset("d", ["p"])


def tight(_: dict[str, Any]) -> dict[str, Any]:
    raise InfeasibleBudget(budget_bytes=1, min_feasible_budget_bytes=9, binding="weights", binding_bytes=5)


def broken(_: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    ("work", "status", "code"),
    [(fine, "ready", None), (bad, "refused", "bad_dataset"), (tight, "infeasible", "infeasible_budget")],
)
def test_answers(work: Any, status: str, code: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
    assert serve(work, "refused", [str(tmp_path / "answer")]) == 0
    answer = json.loads((tmp_path / "answer").read_text())
    assert (answer["status"], answer.get("reason", {}).get("code")) == (status, code)


def test_a_bug_is_told_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("{}"))
    serve(broken, "failed", [str(tmp_path / "answer")])
    reason = json.loads((tmp_path / "answer").read_text())["reason"]
    assert (reason["code"], reason["message"]) == ("internal_error", "ZeroDivisionError: oh")
    assert "broken" in reason["details"]["traceback"]


def test_what_a_child_does_is_in_a_file_beside_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("{}"))
    monkeypatch.setattr(Progress, "EVERY_S", 0.0)

    def work(order: dict[str, Any], say: Progress) -> dict[str, Any]:
        say({"type": "stage", "phase": "profiling", "message": "running a first step"})
        first = progress_path(tmp_path / "answer").read_text()
        say({"type": "progress", "phase": "profiling", "done": 14, "total": 60, "eta_s": 40})
        say({"type": "phase", "name": "planning"})
        return {"status": "ready", "first": first}

    serve(work, "failed", [str(tmp_path / "answer")], has_progress=True)
    assert json.loads((tmp_path / "answer").read_text())["first"] == "running a first step"
    assert progress_path(tmp_path / "answer").read_text() == "profiling: site 14 of 60, about 40 s left"
