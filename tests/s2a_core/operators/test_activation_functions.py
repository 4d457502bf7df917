"""Activations: forward equal to torch, gradients near the exact ones and nearer with more bits, exact masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from s2a_core.kernels import fit_table
from s2a_core.operators import CURVES
from s2a_core.operators.piecewise import MaskedFunction
from s2a_core.operators.smooth import ActivationFunction
from tests.assertions import assert_close, relative_rms


@pytest.mark.parametrize(("name", "stock"), [("gelu", F.gelu), ("silu", F.silu), ("hardswish", F.hardswish)])
def test_smooth_activation_error_falls_with_bits(name: str, stock: object) -> None:
    x = torch.randn(7, 33, requires_grad=True)
    y = stock(x)  # type: ignore[operator]
    dy = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, dy)
    errors = []
    for bits in (1, 2, 3, 4):
        packed = ActivationFunction.apply(x, CURVES[name], fit_table(CURVES[name], bits, None))
        assert_close(packed, y, rel=1e-6)
        errors.append(relative_rms(torch.autograd.grad(packed, x, dy)[0], expected))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1


@pytest.mark.parametrize(
    ("name", "params", "stock"),
    [
        ("relu", (), F.relu),
        ("relu6", (), F.relu6),
        ("hardsigmoid", (), F.hardsigmoid),
        ("leaky_relu", (0.2,), lambda x: F.leaky_relu(x, 0.2)),
        ("hardtanh", (-0.5, 2.0), lambda x: F.hardtanh(x, -0.5, 2.0)),
    ],
)
def test_masked_activation_is_exact(name: str, params: tuple[float, ...], stock: object) -> None:
    x = (3 * torch.randn(5, 13)).requires_grad_()
    y = stock(x)  # type: ignore[operator]
    dy = torch.randn_like(y)
    masked = MaskedFunction.apply(x, name, params, False)
    assert torch.equal(masked, y)
    assert torch.equal(torch.autograd.grad(masked, x, dy)[0], torch.autograd.grad(y, x, dy)[0])


def test_masked_relu_keeps_one_bit_an_element() -> None:
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        MaskedFunction.apply(torch.randn(10, 13, requires_grad=True), "relu", (), False)
    assert sum(t.untyped_storage().nbytes() for t in saved) == (10 * 13 + 7) // 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_row_0_of_a_token_map_is_finer_than_the_others(dtype: torch.dtype) -> None:
    x = torch.randn(3, 40, 16).to(dtype).requires_grad_()
    dy = torch.randn_like(x)
    (expected,) = torch.autograd.grad(F.gelu(x), x, dy)
    (found,) = torch.autograd.grad(ActivationFunction.apply(x, CURVES["gelu"], fit_table(CURVES["gelu"], 2)), x, dy)
    assert relative_rms(found[:, 0], expected[:, 0]) < 0.01
    assert relative_rms(found[:, 1:], expected[:, 1:]) > 0.05


@pytest.mark.parametrize(
    ("shape", "num_bytes"), [((3, 40, 16), 3 * 40 * 16 // 4 + 3 * 16), ((3, 31, 16), 3 * 31 * 16 // 4), ((40, 48), 480)]
)
def test_bytes_saved_are_the_codes_and_one_byte_an_element_of_row_0(shape: tuple[int, ...], num_bytes: int) -> None:
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        ActivationFunction.apply(torch.randn(shape, requires_grad=True), CURVES["gelu"], fit_table(CURVES["gelu"], 2))
    assert sum(t.untyped_storage().nbytes() for t in saved) == num_bytes
