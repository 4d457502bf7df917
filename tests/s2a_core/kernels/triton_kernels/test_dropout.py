"""Dropout by kernels drops and packs what the reference does, to the bit, and scales it alike."""

from __future__ import annotations

import pytest
import torch

from s2a_core.kernels.reference import dropout as reference
from s2a_core.kernels.triton_kernels import dropout
from tests.assertions import assert_close


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1001,), (3, 5, 7, 8), (0, 4)])
def test_both_passes_are_the_references(
    shape: tuple[int, ...], p: float, dtype: torch.dtype, device: torch.device
) -> None:
    x, dy = torch.randn(shape, device=device).to(dtype), torch.randn(shape, device=device).to(dtype)
    torch.manual_seed(0)
    y, payload = dropout.dropout_fwd(x, p)
    torch.manual_seed(0)
    expected, bits = reference.dropout_fwd(x, p)
    assert torch.equal(y, expected)
    assert torch.equal(payload, bits)
    dx, right = dropout.dropout_bwd(dy, payload, p), reference.dropout_bwd(dy, bits, p)
    assert torch.equal(dx == 0, right == 0)
    assert_close(dx, right, rel=2**-7 if dtype == torch.bfloat16 else 1e-6)  # the interpreter cuts bf16 off


def test_a_channels_last_map_gets_its_own_mask_back(device: torch.device) -> None:
    x = torch.ones(2, 6, 5, 4, device=device).to(memory_format=torch.channels_last)
    y, payload = dropout.dropout_fwd(x, 0.4)
    assert torch.equal(dropout.dropout_bwd(torch.ones_like(x), payload, 0.4), y)
