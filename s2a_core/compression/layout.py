"""How the outputs of rebuilt modules lie in memory: as those of the module itself."""

from __future__ import annotations

import torch
from torch import Tensor


def rows_like(part: Tensor, num_rows: int, dtype: torch.dtype) -> Tensor:
    """Uninitialised [num_rows, ...] whose dimensions lie in memory as those of a part, channels_last included."""
    shape, strides, size = (num_rows, *part.shape[1:]), [0] * part.dim(), 1
    for dim in sorted(range(part.dim()), key=lambda dim: (part.stride(dim), -dim)):
        strides[dim], size = size, size * shape[dim]
    return torch.empty_strided(shape, strides, dtype=dtype, device=part.device)


def changeable(y: Tensor, x: Tensor) -> Tensor:
    """y as no view, in the same memory unless that is x's: what follows a module may change its output in place."""
    if not y._is_view():
        return y
    if y.untyped_storage()._cdata == x.untyped_storage()._cdata:
        return y.clone()
    return y.new_empty(0).set_(y.untyped_storage(), y.storage_offset(), y.shape, y.stride())
