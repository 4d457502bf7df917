"""LoRA as one operator: the gradients of the sum it stands for, and nothing kept but its input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from s2a_core.compression import compress
from s2a_core.operators import low_rank_conv, low_rank_linear
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
    _assert_same(y, expected, trained, rel)


def _assert_same(y: torch.Tensor, expected: torch.Tensor, trained: tuple[torch.Tensor, ...], rel: float) -> None:
    """Both outputs, and their gradients for all that is trained, in fp32."""
    assert y.shape == expected.shape
    assert_close(y.float(), expected, rel=rel)
    dy = torch.randn_like(expected)
    got = torch.autograd.grad(y, trained, dy.to(y.dtype))
    assert [g.dtype for g in got] == [torch.float32] * len(trained)
    for mine, other in zip(got, torch.autograd.grad(expected, trained, dy), strict=True):
        assert_close(mine, other, rel=rel)


def test_a_narrow_frozen_weight_decides_the_dtype() -> None:
    x, weight, bias, down, up = _operands()
    y = low_rank_linear(x, weight.bfloat16(), bias, down, up, 0.5)
    assert y.dtype == torch.bfloat16
    assert_close(y.float(), _stock(x, weight, bias, down, up), rel=0.02)


def test_nothing_is_kept_where_the_low_rank_weights_are_frozen() -> None:
    saved: list[torch.Tensor] = []
    x, weight, bias, down, up = _operands()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = low_rank_linear(x, weight, bias, down.detach(), up.detach(), 0.5)
    assert all(t.data_ptr() != x.data_ptr() for t in saved)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert_close(dx, torch.autograd.grad(_stock(x, weight, bias, down, up).sum(), x)[0], rel=1e-5)


def _maps(memory_format: torch.memory_format = torch.contiguous_format) -> tuple[torch.Tensor, ...]:
    x = torch.randn(3, 16, 5, 6).to(memory_format=memory_format).requires_grad_()
    weight, bias = torch.randn(24, 16, 1, 1), torch.randn(24, requires_grad=True)
    return x, weight, bias, torch.randn(2, 16, 1, 1, requires_grad=True), torch.randn(24, 2, 1, 1, requires_grad=True)


@pytest.mark.parametrize(("autocast", "rel"), [(False, 1e-5), (True, 0.02)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_the_sum_of_the_layer_and_the_low_rank_product(
    memory_format: torch.memory_format, stride: tuple[int, int], autocast: bool, rel: float
) -> None:
    operands = _maps(memory_format)
    x, weight, bias, down, up = operands
    expected = F.conv2d(x, weight, bias, stride) + 0.5 * F.conv2d(F.conv2d(x, down, None, stride), up)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = low_rank_conv(*operands, 0.5, stride)
    _assert_same(y, expected, (x, bias, down, up), rel)


def test_a_convolution_keeps_nothing_but_its_input() -> None:
    x, weight, bias, down, up = _maps()
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        low_rank_conv(x, weight, bias, down, up, 0.5, (1, 1))
    assert {t.data_ptr() for t in saved} == {t.data_ptr() for t in (x, weight, down, up)}
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        low_rank_conv(x, weight, bias, down.detach(), up.detach(), 0.5, (1, 1))
    assert all(t.data_ptr() != x.data_ptr() for t in saved)


class _Layer(nn.Module):
    """One layer with LoRA: linear, or a convolution where its weights are."""

    def __init__(self, operands: tuple[torch.Tensor, ...]) -> None:
        super().__init__()
        _, self.weight, bias, down, up = operands
        self.bias = bias.detach()
        self.down, self.up = nn.Parameter(down.detach()), nn.Parameter(up.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        operands = (x * 1, self.weight, self.bias, self.down, self.up, 0.5)  # the model's input would not be counted
        return low_rank_linear(*operands) if self.weight.dim() == 2 else low_rank_conv(*operands, (1, 1))


@pytest.mark.parametrize(
    ("operands", "shape", "site"),
    [(_operands, (8, 128, 16), ":low_rank_linear"), (_maps, (8, 16, 12, 12), ":low_rank_conv")],
    ids=["linear", "convolution"],
)
def test_its_input_is_kept_at_the_width_of_its_site(
    operands: Callable[[], tuple[torch.Tensor, ...]], shape: tuple[int, ...], site: str
) -> None:
    layer, x = _Layer(operands()), torch.randn(shape)
    with compress(layer, StoragePolicy(sites={site: Storage.B8}), ledger=True) as session:
        y = layer(x)
    kept = [entry for entry in session.ledger.entries if entry.storage is Storage.B8]
    assert [entry.site for entry in kept] == [site]
    assert kept[0].bytes < x.numel() * 2
    y.sum().backward()
    exact = torch.autograd.grad(layer(x).sum(), (layer.down, layer.up))
    assert_close(layer.down.grad, exact[0], rel=0.02)
    assert_close(layer.up.grad, exact[1], rel=0.02)
