"""A part that is measured again replaces that part of the results, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import tables
from benchmarks.results import PlannerRun, Results
from tests.benchmarks.test_results import example


def test_a_part_is_measured_again_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, again = example(), PlannerRun(7, 0.5, 0.0, 0.1, 0.2, 0.3)
    old.write(tmp_path / "results.json")
    readme = tmp_path / "README.md"
    readme.write_text(f"{tables.BEGIN}\n{tables.END}\n")
    monkeypatch.setitem(command.PARTS, "planner", lambda: [again])
    assert command.main(["--only", "planner", "--output", str(tmp_path), "--readme", str(readme)]) == 0
    new = Results.read(tmp_path / "results.json")
    assert new == dataclasses.replace(old, planner=(again,))
    assert tables.section(new) in readme.read_text()
