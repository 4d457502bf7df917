"""Peaks of earlier plans are read for `s2a accuracy` and for the margin alike."""

from __future__ import annotations

from pathlib import Path

from app.cli.profiles import peak_pairs
from s2a_core.planning.pairs import PeakPair, record


def test_pairs_come_with_their_error_and_run(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    assert peak_pairs(path) == []
    record(path, PeakPair("m", "bias", "fp32", "cpu", 1000, 1020))
    with path.open("a") as file:
        file.write('{"model": "unfin')
    (pair,) = peak_pairs(path)
    assert (round(pair["error"], 6), pair["run"], pair["measured_bytes"]) == (0.02, "m bias fp32 cpu", 1020)
