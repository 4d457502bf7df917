"""The saved-tensor hooks of a session: codes for what stock operators save, and a record of everything that is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from s2a_core.compression.intercept import Interceptor
from s2a_core.compression.watch import Watched
from s2a_core.operators import Intent, Site, can_be_rounded, operator_name
from s2a_core.operators.packed import PackedShape, decode, encode, layout_of
from s2a_core.storage import Storage

# Smaller tensors (statistics, class tokens, gates of a few hundred values) are kept exact: their bytes do not
# matter and a code would cost accuracy; the generic fallback diverges at 2-3 bits when statistics are coded.
MIN_CODED_ELEMENTS = 1024


class SavedTensors:
    """Packs what autograd saves while a session is open. Parameters, buffers and the model's input stay as they are."""

    def __init__(self, interceptor: Interceptor, model: nn.Module) -> None:
        self.interceptor = interceptor
        self.hooks = saved_tensors_hooks(self._pack, _unpack)
        self._weights = {storage._cdata for storage in _storages((*model.parameters(), *model.buffers()))}
        self._inputs: dict[int, StorageWeakRef] = {}  # while referred to, no other storage takes its place
        self._shared: dict[tuple[Any, ...], tuple[StorageWeakRef, Tensor, PackedShape]] = {}

    def begin(self, args: Sequence[Any]) -> None:
        """A forward pass of the model begins. args: its inputs."""
        self._inputs = {storage._cdata: StorageWeakRef(storage) for storage in _storages(args)}
        self.end()

    def end(self) -> None:
        """Codes of the last forward pass go as its backward reads them."""
        self._shared.clear()

    def _pack(self, tensor: Tensor) -> tuple[Any, int]:
        """What is kept of a tensor, and its version: where there are hooks autograd itself compares none."""
        return self._packed(tensor), tensor._version

    def _packed(self, tensor: Tensor) -> Any:
        seen = self.interceptor
        if tensor.layout is not torch.strided:  # a sparse one has no storage of its own
            return _outside_graph(tensor)
        storage = tensor.untyped_storage()._cdata
        is_owned = storage in self._weights or storage in self._inputs
        if seen.paused or (is_owned and not seen.recorders):
            return _outside_graph(tensor)
        site = seen.site or self._stock_site(tensor)
        stored = _outside_graph(tensor) if is_owned else self._kept(tensor, site)
        for recorder in seen.recorders:
            stored = recorder.packed(site, stored, is_owned)
        return stored

    def _kept(self, tensor: Tensor, site: Site) -> Any:
        is_stock = site.intent is Intent.STOCK
        if (
            site.storage.bits
            and is_stock
            and can_be_rounded(site.op)
            and _can_be_coded(tensor)
            and tuple(tensor.shape) not in site.exact_shapes
        ):
            return self._coded(tensor, site)
        for recorder in self.interceptor.recorders:
            storage = Storage.EXACT if is_stock else site.storage
            recorder.keeps(site, tensor, storage, site.intent or _why_exact(site, tensor), tensor)
        return _outside_graph(tensor)

    def _stock_site(self, tensor: Tensor) -> Site:
        """The site of an operator that is not routed: it has no counter."""
        seen = self.interceptor
        op = operator_name(seen.func) if seen.func is not None else "unknown"
        name = f"{seen.path}:{op}"
        site = Site(name, op, seen.policy.storage(name))
        if _can_be_coded(tensor):
            for recorder in seen.recorders:
                recorder.unlisted(site, tensor)
        return site

    def _coded(self, tensor: Tensor, site: Site) -> tuple[Tensor, PackedShape]:
        bits = site.storage.bits or 8
        storage = tensor.untyped_storage()
        key = (storage._cdata, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor._version, bits)
        known = self._shared.get(key)
        if known is not None and not known[0].expired():
            return known[1], known[2]
        self.interceptor.paused += 1
        try:
            with torch.no_grad():
                payload, packed = encode(tensor.detach(), bits, layout_of(tensor, site.op))
        finally:
            self.interceptor.paused -= 1
        self._shared[key] = (StorageWeakRef(storage), payload, packed)
        for recorder in self.interceptor.recorders:
            recorder.keeps(site, payload, site.storage, "", tensor)
        return payload, packed


def _outside_graph(tensor: Tensor) -> Tensor:
    """The same storage without its grad_fn: a node that held its own output would never be freed without backward."""
    return tensor.detach() if tensor.requires_grad and not tensor.is_leaf else tensor


def _unpack(packed: tuple[Any, int]) -> Tensor:
    stored, version = packed
    if isinstance(stored, Watched):
        stored = stored.unpacked()
    if isinstance(stored, tuple):
        return decode(*stored)
    tensor: Tensor = stored
    if tensor._version != version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"{tensor.dtype} {tuple(tensor.shape)} is at version {tensor._version}, it was saved at version {version}; "
            "call backward() before it is changed, or change a copy"
        )
    return tensor


def _storages(values: Iterable[Any]) -> list[torch.UntypedStorage]:
    """Of the dense tensors among values."""
    return [v.untyped_storage() for v in values if isinstance(v, Tensor) and v.layout is torch.strided]


def _can_be_coded(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() >= MIN_CODED_ELEMENTS and tensor.dim() >= 2


def _why_exact(site: Site, tensor: Tensor) -> str:
    if site.storage is Storage.EXACT:
        return "the plan keeps it exact"
    if not tensor.is_floating_point():
        return f"{tensor.dtype} is not a floating tensor"
    if not can_be_rounded(site.op):
        return f"the gradient of {site.op} does not bear rounding"
    return f"{tensor.numel()} elements are too few to code"
