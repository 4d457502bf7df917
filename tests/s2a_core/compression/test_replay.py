"""Replays: the last linear nobody reads is left out, and only that one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from s2a_core.compression.replay import ReplayMode, WidthMode, without_output_of
from tests.assertions import assert_close


def test_the_last_linear_is_unread_when_only_additions_follow() -> None:
    w, x = torch.randn(4, 4), torch.randn(3, 4)
    with ReplayMode() as mode:
        (F.linear(torch.tanh(F.linear(x, w)), w) + x).view(-1)
    assert mode.last_unread == 1


def test_a_linear_whose_output_is_squashed_is_read() -> None:
    w, x = torch.randn(4, 4), torch.randn(3, 4)
    with ReplayMode() as mode:
        torch.tanh(F.linear(x, w))
    assert mode.last_unread == -1


@pytest.mark.parametrize(("is_trained", "last_unread"), [(False, 0), (True, -1)])
def test_a_layer_scale_reads_the_linear_only_where_it_is_trained(is_trained: bool, last_unread: int) -> None:
    w, x = torch.randn(4, 4), torch.randn(3, 4)
    gamma = torch.nn.Parameter(torch.ones(4), requires_grad=is_trained)
    with torch.no_grad(), ReplayMode() as mode:
        F.linear(x, w) * gamma.view(1, 4) + x
    assert mode.last_unread == last_unread


def test_a_product_of_activations_and_an_addition_in_place_read_the_linear() -> None:
    w, x = torch.randn(4, 4), torch.randn(3, 4)
    with torch.no_grad(), ReplayMode() as mode:
        F.linear(x, w) * x.tanh()
    assert mode.last_unread == -1
    with torch.no_grad(), ReplayMode() as mode:
        y = F.linear(x, w)
        y += x
    assert mode.last_unread == -1


def test_a_phantom_linear_gives_exact_gradients() -> None:
    x, bias = torch.randn(2, 3, 4, requires_grad=True), torch.randn(5, requires_grad=True)
    weight = torch.randn(5, 4, requires_grad=True)
    dy = torch.randn(2, 3, 5)
    expected = torch.autograd.grad(F.linear(x, weight, bias), (x, weight, bias), dy)
    with ReplayMode(phantom=0):
        y = F.linear(x, weight, bias)
    assert y.untyped_storage().nbytes() == 4
    for got, want in zip(torch.autograd.grad(y, (x, weight, bias), dy), expected, strict=True):
        assert_close(got, want, rel=1e-6)


def test_narrow_weights_meet_wide_biases() -> None:
    x, weight = torch.randn(2, 4), torch.randn(3, 4).bfloat16()
    bias = torch.randn(3, requires_grad=True)
    with ReplayMode():
        assert F.linear(x, weight, bias).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_training", [False, True])
def test_batch_norm_takes_narrow_scales_beside_wide_statistics(
    dtype: torch.dtype, bias_dtype: torch.dtype, is_training: bool
) -> None:
    x, mean, var = torch.randn(2, 3, 4, 4), torch.zeros(3), torch.ones(3)
    weight, bias = torch.rand(3).bfloat16(), torch.randn(3).to(bias_dtype)
    expected = F.batch_norm(x, mean.clone(), var.clone(), weight.float(), bias.float(), is_training)
    with ReplayMode():
        y = F.batch_norm(x.to(dtype), mean, var, weight, bias, is_training)
    assert y.dtype == dtype
    assert_close(y.float(), expected, rel=1e-2)


def test_a_layer_whose_output_nobody_reads_is_left_out_and_put_back() -> None:
    linear, x = torch.nn.Linear(4, 5), torch.randn(2, 3, 4, requires_grad=True)
    dy = torch.randn(2, 3, 5)
    operands = (x, linear.weight, linear.bias)
    expected = torch.autograd.grad(linear(x), operands, dy)
    with without_output_of(linear):
        y = linear(x)
        assert y.untyped_storage().nbytes() == 4
    assert "forward" not in vars(linear)
    for got, want in zip(torch.autograd.grad(y, operands, dy), expected, strict=True):
        assert_close(got, want, rel=1e-6)
    own = linear.forward = lambda input: input  # type: ignore[method-assign,assignment]
    with without_output_of(linear), without_output_of(None):
        assert linear.forward is not own
    assert linear.forward is own


def test_a_mode_tells_whether_it_changed_an_operand() -> None:
    x, weight = torch.randn(2, 4), torch.randn(3, 4)
    with ReplayMode() as mode:
        F.linear(x, weight, torch.randn(3))
        F.layer_norm(x, (4,), torch.randn(4))
        assert not mode.has_matched
        F.layer_norm(x, (4,), torch.randn(4).bfloat16())
        assert mode.has_matched
    with ReplayMode() as mode:
        F.linear(x, weight, torch.randn(3).bfloat16())
    assert mode.has_matched
    assert mode.weights == [weight]


def test_calls_may_pass_every_argument_by_name() -> None:
    x, q, weight = torch.randn(2, 3, 6, 6), torch.randn(2, 2, 5, 8), torch.randn(4, 3, 3, 3)
    for mode in (ReplayMode(), WidthMode()):
        with mode:
            assert torch.equal(F.dropout(input=x, training=False), x)
            F.conv2d(input=x, weight=weight.bfloat16())
            F.layer_norm(input=x, normalized_shape=[6], weight=torch.ones(6, dtype=torch.bfloat16))
            attended = F.scaled_dot_product_attention(query=q, key=q.bfloat16(), value=q)
        assert attended.dtype is torch.float32
