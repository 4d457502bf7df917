"""The other papers' methods do what their papers say: right values, few bytes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.published import (
    GenericHooks,
    MSLayerNorm,
    ReGELU2,
    gelu_steps,
    pack_bits,
    unpack_bits,
    use_low_memory_bp,
)
from tests.assertions import assert_close, cosine


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_packed_codes_come_back(bits: int) -> None:
    codes = torch.randint(0, 2**bits, (64,), dtype=torch.uint8)
    packed = pack_bits(codes, bits)
    assert packed.numel() == 64 * bits // 8
    assert torch.equal(unpack_bits(packed, bits), codes)


def test_gelu_steps_are_a_rising_table_with_three_borders() -> None:
    borders, levels = gelu_steps()
    assert sorted(borders) == list(borders)
    assert len(borders) == 3
    assert len(levels) == 4
    assert levels[0] < 0.1
    assert levels[-1] > 0.9


def test_regelu2_is_gelu_forward_and_close_to_it_backward() -> None:
    x = torch.randn(33, 7, requires_grad=True)
    exact = x.detach().clone().requires_grad_()
    y, expected = ReGELU2()(x), nn.functional.gelu(exact)
    assert torch.equal(y, expected)
    g = torch.randn_like(y)
    y.backward(g)
    expected.backward(g)
    assert x.grad is not None
    assert exact.grad is not None
    assert cosine(x.grad, exact.grad) > 0.95


def test_ms_layer_norm_has_exact_gradients() -> None:
    norm = nn.LayerNorm(16)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(3, 5, 16, requires_grad=True)
    g = torch.randn(3, 5, 16)
    names = (x, norm.weight, norm.bias)
    expected = torch.autograd.grad(norm(x), names, g)
    actual = torch.autograd.grad(MSLayerNorm(norm)(x), names, g)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, rel=1e-5)


@pytest.mark.parametrize(("bits", "least"), [(8, 0.999), (4, 0.9)])
def test_hooks_quantise_what_autograd_saves(bits: int, least: float) -> None:
    x = torch.randn(64, 64, requires_grad=True)
    exact = torch.autograd.grad(torch.nn.functional.gelu(x).square().sum(), x)[0]
    with GenericHooks(bits):
        loss = torch.nn.functional.gelu(x * 1).square().sum()
    assert cosine(torch.autograd.grad(loss, x)[0], exact) > least


def test_low_memory_bp_replaces_gelu_and_layer_norm_of_a_vit(vit: nn.Module) -> None:
    x = torch.randn(2, 3, 64, 64)
    before = vit(x)
    assert use_low_memory_bp(vit) == 2 * 2 + 2 + 1
    assert_close(vit(x), before, rel=1e-5)
