"""Steps are timed in pairs and judged by the median of their ratios."""

from __future__ import annotations

from benchmarks import steps
from benchmarks.results import Spread


def test_every_way_is_paired_with_what_it_is_judged_by() -> None:
    found = list(steps.pairs("test_vit", batch=2, repeats=2, size=160))
    assert {(pair.reference, pair.target) for pair in found} == {("bias", 1.3), ("bias + checkpointing", 1.1)}
    assert all(pair.ratio.low <= pair.ratio.median <= pair.ratio.high and pair.reference_ms > 0 for pair in found)
    assert all(0 < pair.processor.low <= pair.processor.high for pair in found)


def test_a_median_above_its_target_is_missed() -> None:
    assert steps.Pair("a", "b", 1.1, Spread(1.1, 1.0, 9.0, 7), Spread(9.0, 9.0, 9.0, 7), 1.0).is_met
    assert not steps.Pair("a", "b", 1.1, Spread(1.11, 1.0, 1.2, 7), Spread(1.0, 1.0, 1.0, 7), 1.0).is_met
