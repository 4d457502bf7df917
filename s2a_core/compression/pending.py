"""A norm's output that is not computed yet, so that the module it enters can rebuild it chunk by chunk.

LayerNorm and RMSNorm act on each token alone, so they commute with whatever only moves or picks tokens: view,
permute, roll, window partition, `x[:, 0]`. A pending norm follows its tensor through those and is evaluated at the
first operator that needs values. That finds `norm -> attention` and `norm -> MLP` by what the tensor is, in any
model, and keeps the class token of a final norm from holding every other token alive.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.errors import UnsupportedSite
from s2a_core.operators.norms import NormCall


class Deferring(Protocol):
    """The session that a pending norm belongs to. is_on: whether it sees the calls itself."""

    is_on: bool

    def defer(self, raw: Tensor, norm: NormCall) -> PendingNorm:
        """A pending norm of this session."""

    def evaluate(self, raw: Tensor, norm: NormCall) -> Tensor:
        """norm(raw)."""


class PendingNorm(Tensor):
    """Stands for norm(raw). Any function outside an active session evaluates it."""

    raw: Tensor
    call: NormCall
    raw_version: int
    session: Deferring
    value: Tensor | None

    @classmethod
    def of(cls, raw: Tensor, call: NormCall, session: Deferring) -> PendingNorm:
        """Defers `call` on raw: [..., C]."""
        with torch._C.DisableTorchFunction():
            pending = raw.detach().as_subclass(cls)
            version = _version(raw)
        pending.raw, pending.call, pending.session = raw, call, session
        pending.raw_version, pending.value = version, None
        return pending

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _METADATA:
            with torch._C.DisableTorchFunction():
                return func(args[0].__dict__["raw"], *args[1:], **(kwargs or {}))
        first = args[0] if args else None
        if isinstance(first, PendingNorm) and first.value is None and not first.session.is_on:
            result = moved(first, func, args[1:], kwargs or {})
            if result is not None:
                return result
        args, kwargs = evaluated((args, kwargs or {}))
        return func(*args, **kwargs)


def _version(raw: Tensor) -> int:
    """Changes in place of a tensor; those of inference mode are not counted."""
    return 0 if raw.is_inference() else raw._version


_PLAIN = frozenset({Tensor, torch.nn.Parameter, type(None), int, float, bool, str})  # what most arguments are


def value_of(pending: PendingNorm) -> Tensor:
    """norm(raw), computed once. Raises UnsupportedSite where raw was changed in place before anything asked for it."""
    fields = pending.__dict__
    if fields["value"] is None:
        if _version(fields["raw"]) != fields["raw_version"]:
            site = fields["call"].site
            raise UnsupportedSite(
                f"{site}: what it normalises was changed in place before its output was used, which s2a does not "
                "follow: change a copy instead",
                details={"site": site},
            )
        fields["value"] = fields["session"].evaluate(fields["raw"], fields["call"])
    value: Tensor = fields["value"]
    return value


def evaluated(tree: Any) -> Any:
    """The same nest of tuples, lists and dicts with every pending norm evaluated."""
    if type(tree) in _PLAIN:
        return tree
    if isinstance(tree, PendingNorm):
        return value_of(tree)
    if isinstance(tree, (tuple, list)):
        items = [evaluated(item) for item in tree]
        if all(new is old for new, old in zip(items, tree, strict=True)):
            return tree
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items) if isinstance(tree, tuple) else items
    if isinstance(tree, dict):
        changed = {key: value for key, item in tree.items() if (value := evaluated(item)) is not item}
        if changed:
            tree = copy.copy(tree)  # of its own class: outputs of transformers are dicts with attributes
        for key, value in changed.items():
            tree[key] = value  # they refuse update()
    return tree


def moved(pending: PendingNorm, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PendingNorm | None:
    """func(pending, *args) as a pending norm again, where func moves or picks whole tokens; else None."""
    raw, call = pending.raw, pending.call
    if not _moves_tokens_only(func, raw, args, kwargs):
        return None
    return pending.session.defer(func(raw, *args, **kwargs), call)


def _moves_tokens_only(func: Any, raw: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether func(raw, *args) rearranges or picks whole tokens and leaves the last dimension alone."""
    rule = _COMMUTING.get(func)
    if rule is None or (kwargs and tuple(kwargs) not in _KEYWORDS_IN_ORDER):
        return False
    return rule(raw, (*args, *kwargs.values()))


_KEYWORDS_IN_ORDER = (("shifts", "dims"), ("dims",), ("pad",), ("mode", "value"))


def _last_stays_last(raw: Tensor, args: tuple[Any, ...]) -> bool:
    dims = args[0] if len(args) == 1 and isinstance(args[0], tuple | list | torch.Size) else args
    return bool(dims) and dims[-1] in (-1, raw.dim() - 1)


def _keeps_channel_count(raw: Tensor, args: tuple[Any, ...]) -> bool:
    sizes = args[0] if len(args) == 1 and isinstance(args[0], tuple | list | torch.Size) else args
    if not sizes or not all(isinstance(size, int) for size in sizes):
        return False
    if sizes[-1] != -1:
        return bool(sizes[-1] == raw.shape[-1])
    known = 1
    for size in sizes[:-1]:
        known *= size
    return known * raw.shape[-1] == raw.numel()


def _avoids_last(raw: Tensor, dims: tuple[Any, ...]) -> bool:
    return all(isinstance(d, int) and d not in (-1, raw.dim() - 1) for d in dims)


def _rolls_tokens(raw: Tensor, args: tuple[Any, ...]) -> bool:
    if len(args) < 2:
        return False
    return _avoids_last(raw, tuple(args[1]) if isinstance(args[1], tuple | list) else (args[1],))


def _pads_nothing(raw: Tensor, args: tuple[Any, ...]) -> bool:
    return not any(args[0])


def _indexes_tokens(raw: Tensor, args: tuple[Any, ...]) -> bool:
    index = args[0] if isinstance(args[0], tuple) else (args[0],)
    return len(index) < raw.dim() and all(type(i) is int or isinstance(i, slice) for i in index)


def _flattens_tokens(raw: Tensor, args: tuple[Any, ...]) -> bool:
    end = args[1] if len(args) > 1 else -1
    return raw.dim() > 1 and end not in (-1, raw.dim() - 1)


_COMMUTING: dict[Any, Callable[[Tensor, tuple[Any, ...]], bool]] = {
    Tensor.view: _keeps_channel_count,
    Tensor.reshape: _keeps_channel_count,
    torch.reshape: _keeps_channel_count,
    Tensor.permute: _last_stays_last,
    torch.permute: _last_stays_last,
    Tensor.transpose: _avoids_last,
    torch.transpose: _avoids_last,
    Tensor.roll: _rolls_tokens,
    torch.roll: _rolls_tokens,
    F.pad: _pads_nothing,
    Tensor.contiguous: lambda raw, args: not args,
    Tensor.__getitem__: _indexes_tokens,
    Tensor.flatten: _flattens_tokens,
    torch.flatten: _flattens_tokens,
}

_METADATA = {
    Tensor.shape.__get__,  # type: ignore[attr-defined]
    Tensor.dtype.__get__,  # type: ignore[attr-defined]
    Tensor.device.__get__,  # type: ignore[attr-defined]
    Tensor.ndim.__get__,  # type: ignore[attr-defined]
    Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__,  # type: ignore[attr-defined]
    Tensor.layout.__get__,  # type: ignore[attr-defined]
    Tensor.size,
    Tensor.dim,
    Tensor.numel,
    Tensor.stride,
    Tensor.is_contiguous,
    Tensor.__len__,
    Tensor.is_floating_point,
    torch.is_floating_point,
    torch.numel,
}


def is_metadata(func: Any) -> bool:
    """Whether a function asks about a tensor's shape or type rather than its values."""
    return func in _METADATA
