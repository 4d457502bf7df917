"""Safetensors files of any model: also of one whose modules share a weight, which that format refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes every tensor under its name, one that several names share under each: any loader finds all of them."""
    from safetensors.torch import save_file

    stored: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        if own.untyped_storage().data_ptr() in storages and own.numel():
            own = own.clone()
        storages.add(own.untyped_storage().data_ptr())
        stored[name] = own
    save_file(stored, str(path), metadata=dict(metadata))
