"""Marks say whose turn it is, and who keeps which tensor."""

from __future__ import annotations

import torch
from torch import nn

from s2a_core.compression import compress
from s2a_core.compression.watch import BACKWARD, FORWARD, GRADIENT, Watcher
from s2a_core.meter import PeakMeter
from s2a_core.storage import StoragePolicy


def test_turns_are_marked_forward_and_backward_in_order() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.SiLU())
    watcher = Watcher(torch.device("cpu"))
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(watcher.gradient)
    with PeakMeter() as meter:
        with compress(model, StoragePolicy(), recorders=(watcher,)):
            loss = model(torch.randn(4, 8)).sum()
        loss.backward()
        watcher.end()
    phases = [(m.phase, m.site) for m in watcher.marks if m.site in ("1:gelu", "3:silu") and m.phase != GRADIENT]
    assert phases == [(FORWARD, "1:gelu"), (FORWARD, "3:silu"), (BACKWARD, "3:silu"), (BACKWARD, "1:gelu")]
    assert [name for name, _ in meter.marks if name.isdecimal()] == [str(i) for i in range(len(watcher.marks))]
    assert sum(m.num_bytes for m in watcher.marks) == 4 * 2 * (8 * 8 + 8)


def test_a_tensor_kept_by_two_sites_has_one_identity() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.inner(x)
            return torch.nn.functional.gelu(h) + torch.nn.functional.silu(h)

    watcher = Watcher(torch.device("cpu"))
    model = Gate()
    with compress(model, StoragePolicy(), recorders=(watcher,)):
        model(torch.randn(4, 8))
    owners = {site: identity for site, identity, _ in watcher.kept}
    assert owners[":gelu"] == owners[":silu"]
