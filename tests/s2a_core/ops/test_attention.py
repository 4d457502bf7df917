"""Attention from packed q, k and v: output exact, gradients near, with mask, causal and dropout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from s2a_core.ops import AttentionFunction
from tests.assertions import assert_close


def _operands() -> list[torch.Tensor]:
    qkv = torch.randn(2, 9, 3, 2, 8).permute(2, 0, 3, 1, 4)
    return [t.detach().requires_grad_() for t in qkv.unbind(0)]


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}])
def test_gradients_are_near_the_exact_ones(options: dict[str, object]) -> None:
    operands = _operands()
    stock = F.scaled_dot_product_attention(*operands, **options)  # type: ignore[arg-type]
    packed = AttentionFunction.apply(*operands, None, options, 8, None)
    assert torch.equal(packed, stock)
    dy = torch.randn_like(stock)
    for got, expected in zip(
        torch.autograd.grad(packed, operands, dy), torch.autograd.grad(stock, operands, dy), strict=True
    ):
        assert_close(got, expected, rel=0.03)


def test_a_trainable_mask_gets_its_gradient() -> None:
    operands, mask = _operands(), torch.randn(1, 2, 9, 9, requires_grad=True)
    stock = F.scaled_dot_product_attention(*operands, attn_mask=mask)
    packed = AttentionFunction.apply(*operands, mask, {}, 8, None)
    dy = torch.randn_like(stock)
    assert_close(torch.autograd.grad(packed, mask, dy)[0], torch.autograd.grad(stock, mask, dy)[0], rel=0.03)


def test_dropout_inside_attention_is_replayed() -> None:
    operands = _operands()
    torch.manual_seed(3)
    stock = F.scaled_dot_product_attention(*operands, dropout_p=0.5)
    torch.manual_seed(3)
    packed = AttentionFunction.apply(*operands, None, {"dropout_p": 0.5}, 8, None)
    torch.randn(5)
    dy = torch.randn_like(stock)
    for got, expected in zip(
        torch.autograd.grad(packed, operands, dy), torch.autograd.grad(stock, operands, dy), strict=True
    ):
        assert_close(got, expected, rel=0.05)
