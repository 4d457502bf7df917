import itertools
import json
import subprocess
import sys

import pytest
import torch

from s2a_core.kernels.tables import DerivativeTable, Histogram, _best_cuts, fit_table
from s2a_core.operators import CURVES


def squared_error(name: str, table: DerivativeTable, x: torch.Tensor) -> float:
    levels = table.levels[torch.bucketize(x, table.borders, right=True)]
    return float((CURVES[name].derivative(x) - levels).square().mean())


@pytest.mark.parametrize("name", sorted(CURVES))
def test_the_error_falls_with_every_bit(name: str) -> None:
    x = torch.randn(20_000)
    errors = [squared_error(name, fit_table(CURVES[name], bits), x) for bits in (1, 2, 3, 4, 5, 6, 8)]
    assert all(later < 0.75 * earlier for earlier, later in itertools.pairwise(errors)), errors


def test_the_partition_is_the_best_there_is() -> None:
    value = torch.tensor([0.0, 0.1, 1.0, 0.9, -0.4, 0.0, 0.2], dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 0.5], dtype=torch.float64)

    def error(cuts: tuple[int, ...]) -> float:
        parts = itertools.pairwise((0, *cuts, len(value)))
        return sum(
            float((weight[a:b] * (value[a:b] - (weight[a:b] * value[a:b]).sum() / weight[a:b].sum()) ** 2).sum())
            for a, b in parts
        )

    best = min(itertools.combinations(range(1, len(value)), 3), key=error)
    assert tuple(_best_cuts(value, weight, 4).tolist()) == best


def test_a_table_fitted_to_shifted_inputs_beats_the_universal_one() -> None:
    x = torch.randn(50_000) * 0.7 - 1.3
    fitted = fit_table(CURVES["gelu"], 2, Histogram.of(x))
    assert squared_error("gelu", fitted, x) < 0.8 * squared_error("gelu", fit_table(CURVES["gelu"], 2), x)


def test_borders_ascend_and_are_numbers_of_every_dtype() -> None:
    for bits in (1, 2, 3, 4, 8):
        borders = fit_table(CURVES["silu"], bits).borders
        assert len(borders) == 2**bits - 1
        assert bool((borders[1:] >= borders[:-1]).all())
        for dtype in (torch.bfloat16, torch.float16):
            assert torch.equal(borders.to(dtype).float(), borders)


def test_fitting_is_cached() -> None:
    assert fit_table(CURVES["gelu"], 2) is fit_table(CURVES["gelu"], 2)


@pytest.mark.parametrize(
    "values", [torch.zeros(9), torch.tensor([float("nan")] * 4), torch.full((5,), 1e4), torch.empty(0)]
)
def test_odd_histograms_give_a_table(values: torch.Tensor) -> None:
    table = fit_table(CURVES["gelu"], 3, Histogram.of(values))
    assert bool(torch.isfinite(table.levels).all())


def test_unknown_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="not 7"):
        fit_table(CURVES["gelu"], 7)


def test_the_script_writes_the_universal_tables() -> None:
    done = subprocess.run([sys.executable, "-m", "s2a_core.operators"], capture_output=True, text=True, timeout=120)
    rows = {(row["name"], row["bits"]): row for row in json.loads(done.stdout)}
    assert tuple(rows["gelu", 2]["levels"]) == fit_table(CURVES["gelu"], 2).level_values
