"""Attention from packed q, k and v: output exact, gradients near, with mask, causal and dropout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from s2a_core.operators.attention import AttentionFunction, finer_bits, lie_in_one_product
from tests.assertions import assert_close, relative_rms


def _operands() -> list[torch.Tensor]:
    qkv = torch.randn(2, 9, 3, 2, 8).permute(2, 0, 3, 1, 4)
    return [t.detach().requires_grad_() for t in qkv.unbind(0)]


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}])
def test_gradients_are_near_the_exact_ones(options: dict[str, object]) -> None:
    operands = _operands()
    stock = F.scaled_dot_product_attention(*operands, **options)  # type: ignore[arg-type]
    packed = AttentionFunction.apply(*operands, None, options, 8)
    assert torch.equal(packed, stock)
    dy = torch.randn_like(stock)
    for got, expected in zip(
        torch.autograd.grad(packed, operands, dy), torch.autograd.grad(stock, operands, dy), strict=True
    ):
        assert_close(got, expected, rel=0.03)


def test_a_trainable_mask_gets_its_gradient() -> None:
    operands, mask = _operands(), torch.randn(1, 2, 9, 9, requires_grad=True)
    stock = F.scaled_dot_product_attention(*operands, attn_mask=mask)
    packed = AttentionFunction.apply(*operands, mask, {}, 8)
    dy = torch.randn_like(stock)
    assert_close(torch.autograd.grad(packed, mask, dy)[0], torch.autograd.grad(stock, mask, dy)[0], rel=0.03)


def test_dropout_inside_attention_is_replayed() -> None:
    operands = _operands()
    torch.manual_seed(3)
    stock = F.scaled_dot_product_attention(*operands, dropout_p=0.5)
    torch.manual_seed(3)
    packed = AttentionFunction.apply(*operands, None, {"dropout_p": 0.5}, 8)
    torch.randn(5)
    dy = torch.randn_like(stock)
    for got, expected in zip(
        torch.autograd.grad(packed, operands, dy), torch.autograd.grad(stock, operands, dy), strict=True
    ):
        assert_close(got, expected, rel=0.05)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_slices_of_one_product_are_coded_together_in_the_groups_they_have_alone(bits: int) -> None:
    product = torch.randn(2, 9, 3, 2, 8).permute(2, 0, 3, 1, 4)
    together = [t.requires_grad_() for t in product.detach().unbind(0)]
    apart = [t.clone().detach().requires_grad_() for t in together]
    assert lie_in_one_product(*together)
    assert not lie_in_one_product(*apart)
    dy, held = torch.randn(2, 2, 9, 8), []
    gradients = []
    for operands in (together, apart):
        saved: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, to=saved: to.append(t) or t, lambda t: t):
            y = AttentionFunction.apply(*operands, None, {}, bits)
        held.append(sum(t.numel() for t in saved))
        gradients.append(torch.autograd.grad(y, operands, dy))
    for joint, own in zip(*gradients, strict=True):
        assert_close(joint, own, rel=1e-6)
    assert abs(held[0] - held[1]) <= 4  # bytes: three payloads have three pads


def test_only_neighbours_in_their_order_lie_in_one_product() -> None:
    q, k, v = torch.randn(2, 9, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
    assert lie_in_one_product(q, k, v)
    assert not lie_in_one_product(k, q, v)
    assert not lie_in_one_product(q, k, k)
    assert not lie_in_one_product(q, k, v.clone())
    assert not lie_in_one_product(q[:, :1], k[:, :1], v[:, :1])
    assert not lie_in_one_product(q, k[:, :, :5], v[:, :, :5])  # fewer keys than queries
    assert not lie_in_one_product(q[:0], k[:0], v[:0])
    assert not lie_in_one_product(q[0], k[0], v[0])


@pytest.mark.parametrize("bits", [4, 8])
def test_q_and_k_are_kept_finer_where_the_logits_are_scaled_up(bits: int) -> None:
    dy, q, k, v = torch.randn(4, 2, 2, 33, 64).unbind(0)
    errors, sizes = [], []
    for operands, scale in (((q, k, v), None), ((q / 8, k, v), 1.0)):  # the same logits
        operands = tuple(t.detach().requires_grad_() for t in operands)
        expected = torch.autograd.grad(F.scaled_dot_product_attention(*operands, scale=scale), operands, dy)
        held: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, held=held: held.append(t) or t, lambda t: t):  # type: ignore[misc]
            packed = AttentionFunction.apply(*operands, None, {"scale": scale}, bits)
        sizes.append(sum(t.nbytes for t in held if t.dtype == torch.uint8))
        found = torch.autograd.grad(packed, operands, dy)
        errors.append([relative_rms(a, b) for a, b in zip(found, expected, strict=True)])
    assert all(fine < 0.7 * plain for plain, fine in zip(*errors, strict=True)), errors
    assert sizes[1] - sizes[0] == 2 * (2 * 2 * 33 * 64 * 3 // 8 + 2 * 2 * 64 * 4)


def test_only_an_unusual_scale_costs_more_bits() -> None:
    assert [finer_bits(64, scale) for scale in (None, 0.125, 0.1, 0.0, 1.0, 0.25, 1e9)] == [0, 0, 0, 0, 3, 1, 6]
