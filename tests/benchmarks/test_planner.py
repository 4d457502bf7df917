"""At equal bytes the optimum is never worse than greedy, and both beat uniform bits."""

from __future__ import annotations

from benchmarks import planner
from tests.s2a_core.planning.profiles import transformer


def test_optimal_beats_greedy_beats_uniform() -> None:
    found = planner.run(transformer(2), 2)
    assert found.num_sites == 2 * len(transformer(2).sites)
    assert found.error_optimal <= found.error_greedy * (1 + 1e-9)
    assert found.error_greedy <= found.error_uniform * (1 + 1e-9)
    assert found.gap <= 1e-4
