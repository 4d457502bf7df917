"""A derivative table for each activation site, fitted to where its inputs lie on the calibration images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from s2a_core.batches import Samples, forward
from s2a_core.compression import Session
from s2a_core.compression.record import Histograms, Recorder
from s2a_core.compression.watch import dropping
from s2a_core.kernels import Histogram, fit_table
from s2a_core.kernels.curves import Curve
from s2a_core.storage import FittedTable, StoragePolicy

WIDTHS = (1, 2, 3, 4)  # with more bits the universal table is as good
FEWEST_VALUES = 10_000  # a histogram of fewer, as of a gate after a mean, says little
DECIMALS = 6


def fitted_tables(model: nn.Module, x: Tensor | Samples, precision: str) -> tuple[FittedTable, ...]:
    """Tables of 1 to 4 bits of every smooth activation that keeps something in one forward pass. x: [B, 3, H, W].

    The same model and images give the same tables. precision: `bf16` runs under autocast.
    """
    fitted: list[FittedTable] = []
    for site, (curve, histogram) in _histograms(model, x, precision).items():
        if sum(histogram.counts) >= FEWEST_VALUES:
            for bits in WIDTHS:
                table = fit_table(curve, bits, histogram)
                levels = tuple(round(level, DECIMALS) for level in table.level_values)
                fitted.append(FittedTable(site, bits, table.border_values, levels))
    return tuple(fitted)


def _histograms(model: nn.Module, x: Tensor | Samples, precision: str) -> dict[str, tuple[Curve, Histogram]]:
    def seen(recorders: Sequence[Recorder]) -> dict[str, tuple[Curve, Histogram]]:
        histograms = Histograms()
        session = Session(model, StoragePolicy(), recorders=(histograms, *recorders))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"), session:
            forward(model, x)
        return histograms.of_sites

    return dropping(seen)
