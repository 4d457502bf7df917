"""Norms: output equal to torch, gradients of input, weight and bias from packed x̂."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from s2a_core.operators.norms import NormCall, packed_norm
from tests.assertions import assert_close


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_come_from_packed_values(kind: str, dtype: torch.dtype) -> None:
    x = torch.randn(3, 11, 16).to(dtype).requires_grad_()
    weight, bias = torch.rand(16, requires_grad=True), torch.zeros(16, requires_grad=True)
    call = NormCall(kind, 1e-5, weight, bias if kind == "layer_norm" else None, "n:layer_norm")
    if kind == "layer_norm":
        stock = F.layer_norm(x.float(), (16,), weight, bias, 1e-5)
        trained = (x, weight, bias)
    else:
        stock = F.rms_norm(x.float(), (16,), weight, 1e-5)
        trained = (x, weight)
    y = packed_norm(x, call, 8, tokens=11)
    assert y.dtype == dtype
    tolerance = 0.01 if dtype == torch.bfloat16 else 1e-5
    assert_close(y.float(), stock, rel=tolerance)
    dy = torch.randn_like(stock)
    for got, expected in zip(
        torch.autograd.grad(y, trained, dy.to(dtype)), torch.autograd.grad(stock, trained, dy), strict=True
    ):
        assert_close(got.float(), expected.float(), rel=0.02)
