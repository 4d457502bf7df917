"""Plots are written, name every contestant, and are the same bytes for the same results."""

from __future__ import annotations

from pathlib import Path

from benchmarks import plots
from tests.benchmarks.test_results import example


def test_plots_repeat_byte_for_byte(tmp_path: Path) -> None:
    for name in ("a", "b"):
        plots.peaks(example(), tmp_path / f"{name}-peak.svg")
        plots.curves(example(), tmp_path / f"{name}-curves.svg")
    text = (tmp_path / "a-peak.svg").read_text()
    assert text == (tmp_path / "b-peak.svg").read_text()
    assert "s2a bias" in text
    assert (tmp_path / "a-curves.svg").stat().st_size > 1000
