"""NF4 codes to weights: each element looks its level up and is multiplied with the scale of its group."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2a_core.kernels.layout import scales_offset
from s2a_core.kernels.reference.nf4 import levels_on
from s2a_core.kernels.triton_kernels.channels import bf16_value
from s2a_core.kernels.triton_kernels.launch import cdiv, launch
from s2a_core.kernels.triton_kernels.packing import is_wide, load_codes

BLOCK = 1024


@triton.jit
def _nf4_decode_kernel(packed, scales, levels, out, numel, group, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = pid * BLOCK + tl.arange(0, BLOCK)
    inside = index < numel
    level = tl.load(levels + load_codes(packed, index, inside, 4))
    v = level * bf16_value(tl.load(scales + index // group, mask=inside, other=0))
    tl.store(out + index, v.to(out.dtype.element_ty), mask=inside)


def dequantize_nf4(payload: Tensor, groups: int, group: int, dtype: torch.dtype) -> Tensor:
    """The weights that a payload stands for, [groups, group] in `dtype`."""
    numel, start = groups * group, scales_offset(groups * group, 4)
    out = torch.empty((groups, group), dtype=dtype, device=payload.device)
    if numel:
        scales = payload[start : start + 2 * groups].view(torch.uint16)
        launch(
            _nf4_decode_kernel, (cdiv(numel, BLOCK),), (payload, scales, levels_on(payload.device), out),
            numel, group, BLOCK, is_wide(numel),
        )  # fmt: skip
    return out
