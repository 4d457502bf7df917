"""Interception is timed with everything exact, and operators add up to the step."""

from __future__ import annotations

from benchmarks import overhead


def test_three_ways_each_with_its_operators() -> None:
    found = list(overhead.runs("test_vit", batch=2, repeats=1, size=160))
    assert [run.way.partition(",")[0] for run in found] == ["everything exact", "codes 4 bit", "regions 4 bit"]
    for run in found:
        assert run.ratio.median > 0
        assert len(run.operators_ms) == overhead.SHOWN + 1
        assert all(ms >= 0 for ms in run.operators_ms.values())
