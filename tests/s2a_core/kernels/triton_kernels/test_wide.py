"""Sizes whose bit positions do not fit 32 bits: a program of such a tensor does what it does in a small one.

Tensors here are one program's tile, and every kernel that takes their size is told 2^28 and more, 2^31 bits at 8 bits.
Row kernels (`_norm_fwd_kernel`, `_measure_kernel`) take no size: they count rows and samples in 64 bits.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from s2a_core.kernels.reference import channels as reference
from s2a_core.kernels.reference import nf4 as reference_nf4
from s2a_core.kernels.tables import fit_table
from s2a_core.kernels.triton_kernels import activation, channels, nf4, norm, packing, pooling
from s2a_core.kernels.triton_kernels.launch import launch
from s2a_core.operators import CURVES

HUGE = 2**28 + 2**20
BITS = 8
TILE = 8 * packing.GROUPS
Result = Tensor | tuple[Tensor | None, ...]


def _pack(x: Tensor) -> Result:
    return packing.pack(x.view(torch.int32).to(torch.uint8), BITS)


def _unpack(x: Tensor) -> Result:
    return packing.unpack(packing.pack(x.view(torch.int32).to(torch.uint8), BITS), BITS, TILE)


def _encode(x: Tensor) -> Result:
    return channels.quantize_channels(x.view(2, 8, 64), BITS)


def _decode(x: Tensor) -> Result:
    payload = reference.quantize_channels(x.cpu().view(2, 8, 64), BITS).to(x.device)
    return channels.dequantize_channels(payload, (2, 8, 64), BITS, torch.float32)


def _norm_bwd(x: Tensor) -> Result:
    rows = x.view(norm.ROWS, 64)
    payload = reference.quantize_channels(rows.cpu()[None], BITS).to(x.device)
    return norm.norm_bwd(rows, payload, torch.ones(norm.ROWS, 1, device=x.device), None, (1, norm.ROWS, 64), BITS)


def _act_fwd(x: Tensor) -> Result:
    return activation.act_fwd(x, CURVES["gelu"], fit_table(CURVES["gelu"], BITS))


def _act_bwd(x: Tensor) -> Result:
    payload = x.view(torch.int32).to(torch.uint8)
    return activation.act_bwd(x, payload, fit_table(CURVES["gelu"], BITS))


def _mask_fwd(x: Tensor) -> Result:
    return activation.mask_fwd(x, "relu")


def _maxpool_fwd(x: Tensor) -> Result:
    return pooling.maxpool2d_fwd(x.view(1, 1, 32, 32), 2)


def _maxpool_bwd(x: Tensor) -> Result:
    payload = torch.zeros(32, dtype=torch.uint8, device=x.device)
    return pooling.maxpool2d_bwd(x[:64].view(1, 1, 8, 8), payload, (1, 1, 16, 16), 2)


def _nf4(x: Tensor) -> Result:
    payload = reference_nf4.quantize_nf4(x.cpu().view(16, 64)).to(x.device)
    return nf4.dequantize_nf4(payload, 16, 64, torch.float32)


# kernel, the module that launches it, where the size stands among its numbers, what launches one program of it
CASES: tuple[tuple[str, ModuleType, int, Callable[[Tensor], Result]], ...] = (
    ("_pack_kernel", packing, 0, _pack),
    ("_unpack_kernel", packing, 0, _unpack),
    ("_encode_kernel", channels, 2, _encode),
    ("_decode_kernel", channels, 2, _decode),
    ("_norm_bwd_kernel", norm, 2, _norm_bwd),
    ("_act_fwd_kernel", activation, 0, _act_fwd),
    ("_act_fwd_kernel", activation, 0, _mask_fwd),
    ("_act_bwd_kernel", activation, 0, _act_bwd),
    ("_maxpool2d_fwd_kernel", pooling, 0, _maxpool_fwd),
    ("_maxpool2d_bwd_kernel", pooling, 0, _maxpool_bwd),
    ("_nf4_decode_kernel", nf4, 0, _nf4),
)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_one_program_of_a_tensor_beyond_2_to_the_31_bits(
    case: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, module, position, call = CASES[case]
    x = torch.randn(TILE, generator=torch.Generator().manual_seed(0)).to(device)
    expected = call(x)
    sizes: list[int] = []

    def enlarged(kernel: Any, grid: tuple[int, ...], tensors: Any, *numbers: Any, **options: Any) -> None:
        if kernel.fn.__name__ == name:
            assert grid == (1,)
            sizes.append(numbers[position])
            numbers = (*numbers[:position], HUGE, *numbers[position + 1 :])
        launch(kernel, grid, tensors, *numbers, **options)

    monkeypatch.setattr(module, "launch", enlarged)
    monkeypatch.setattr(module, "is_wide", lambda numel: True)
    made = call(x)
    assert len(sizes) == 1
    for one, other in zip(*(r if isinstance(r, tuple) else (r,) for r in (made, expected)), strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert torch.equal(one, other)


def test_every_kernel_with_a_wide_form_is_here(device: torch.device) -> None:
    names = set()
    for module in ("activation", "channels", "nf4", "norm", "packing", "pooling"):
        kernels = vars(importlib.import_module(f"s2a_core.kernels.triton_kernels.{module}"))
        names |= {name for name, value in kernels.items() if "WIDE" in getattr(value, "arg_names", ())}
    assert names == {name for name, *_ in CASES}
