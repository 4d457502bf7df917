"""Meters: known allocations give known numbers."""

from __future__ import annotations

import torch
from torch import nn

from s2a_core.meter import PeakMeter, held_bytes, live_bytes


def test_the_peak_counts_what_lived_at_once() -> None:
    with PeakMeter() as meter:
        a = torch.zeros(250_000)
        b = torch.zeros(500_000)
        del a
        c = torch.zeros(125_000)
    assert meter.peak_bytes == 3_000_000
    assert meter.end_bytes == 2_500_000
    del b, c


def test_held_bytes_are_what_backward_waits_for() -> None:
    model, x = nn.Sequential(nn.Linear(10, 20), nn.ReLU()), torch.randn(4, 10)
    # ReLU keeps its output, which is the result and not counted; the linear keeps its input, which is given.
    assert held_bytes(model, lambda: model(x), [x]) == 0
    assert held_bytes(nn.Sequential(nn.GELU()), lambda: torch.nn.functional.gelu(model(x)), [x]) >= 4 * 20 * 4


def test_live_bytes_count_weights_gradients_and_moments_once() -> None:
    model = nn.Linear(10, 10)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 10)).sum().backward()
    optimizer.step()
    weights = 110 * 4
    assert live_bytes(model, optimizer) == 4 * weights + 2 * 4  # and one step counter for each parameter
