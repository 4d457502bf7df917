"""LoRA as one operator: the gradients of the sum it stands for, and nothing kept but its input."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from s2a_core.compression import compress
from s2a_core.ops import low_rank_linear
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close


def _operands() -> tuple[torch.Tensor, ...]:
    x, weight, bias = torch.randn(3, 40, 16, requires_grad=True), torch.randn(24, 16), torch.randn(24)
    return x, weight, bias, torch.randn(2, 16, requires_grad=True), torch.randn(24, 2, requires_grad=True)


def _stock(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return F.linear(x, w, b) + 0.5 * F.linear(F.linear(x, down), up)


@pytest.mark.parametrize(("autocast", "rel"), [(False, 1e-5), (True, 0.02)])
def test_it_is_the_sum_of_the_layer_and_the_low_rank_product(autocast: bool, rel: float) -> None:
    operands = _operands()
    trained = (operands[0], *operands[3:])
    expected = _stock(*operands)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = low_rank_linear(*operands, 0.5)
    assert_close(y.float(), expected, rel=rel)
    dy = torch.randn_like(expected)
    got = torch.autograd.grad(y, trained, dy.to(y.dtype))
    assert [g.dtype for g in got] == [torch.float32] * 3
    for mine, other in zip(got, torch.autograd.grad(expected, trained, dy), strict=True):
        assert_close(mine, other, rel=rel)


def test_a_narrow_frozen_weight_decides_the_dtype() -> None:
    x, weight, bias, down, up = _operands()
    y = low_rank_linear(x, weight.bfloat16(), bias, down, up, 0.5)
    assert y.dtype == torch.bfloat16
    assert_close(y.float(), _stock(x, weight, bias, down, up), rel=0.02)


def test_its_input_is_kept_at_the_width_of_its_site() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            _, self.weight, self.bias, down, up = _operands()
            self.down, self.up = nn.Parameter(down.detach()), nn.Parameter(up.detach())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return low_rank_linear(x * 1, self.weight, self.bias, self.down, self.up, 0.5)  # an input is not counted

    layer, x = Layer(), torch.randn(8, 128, 16)
    policy = StoragePolicy(sites={":linear": Storage.B8})
    with compress(layer, policy) as session:
        y = layer(x)
    kept = [entry for entry in session.ledger.entries if entry.storage is Storage.B8]
    assert [entry.site for entry in kept] == [":linear"]
    assert kept[0].bytes < x.numel() * 2
    y.sum().backward()
    exact = torch.autograd.grad(layer(x).sum(), (layer.down, layer.up))
    assert_close(layer.down.grad, exact[0], rel=0.02)
    assert_close(layer.up.grad, exact[1], rel=0.02)


def test_nothing_is_kept_where_the_low_rank_weights_are_frozen() -> None:
    saved: list[torch.Tensor] = []
    x, weight, bias, down, up = _operands()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = low_rank_linear(x, weight, bias, down.detach(), up.detach(), 0.5)
    assert all(t.data_ptr() != x.data_ptr() for t in saved)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert_close(dx, torch.autograd.grad(_stock(x, weight, bias, down, up).sum(), x)[0], rel=1e-5)
