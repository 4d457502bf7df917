"""Linear layers, convolutions and attention: frozen weights keep no input, q, k and v are packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from s2a_core.compression.routes.calls import bound, check, keeps_something, packed
from s2a_core.compression.sites import op_name, options_of
from s2a_core.kernels import SUPPORTED_DTYPES
from s2a_core.ops import AttentionFunction, FrozenConvFunction
from s2a_core.storage import Storage

if TYPE_CHECKING:
    from s2a_core.compression.session import Session


def attention(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.scaled_dot_product_attention."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = bound(names, {}, args, kwargs)
    q, k, v, mask = given.pop("query"), given.pop("key"), given.pop("value"), given.pop("attn_mask", None)
    if isinstance(mask, Tensor) and mask.is_floating_point():
        mask = mask.to(q.dtype)
    if not keeps_something(q, k, v, mask):
        return func(q, k, v, attn_mask=mask, **given)
    site = session.site("attention")
    session.record(site, q)
    if site.storage.bits is None:
        with session.attributed_to(site):
            return func(q, k, v, attn_mask=mask, **given)
    q, k, v, mask = map(_autocast, (q, k, v, mask))
    check(site.name, q)
    with session.attributed_to(packed(site)):
        return AttentionFunction.apply(q, k, v, mask, given, site.storage.bits, session.rounding_seed(site.name))


def _autocast(x: Any) -> Any:
    """x in the dtype autocast would give it: the attention that backward runs again is outside of autocast."""
    if not isinstance(x, Tensor) or x.dtype not in SUPPORTED_DTYPES or not torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))


def linear(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.linear."""
    given = bound(("input", "weight", "bias"), {"bias": None}, args, kwargs)
    x, weight, bias = given["input"], given["weight"], given["bias"]
    if not keeps_something(x, weight, bias):
        return func(*_matched(x, weight, bias))
    x, weight, bias = _matched(x, weight, bias)
    site = session.site("linear")
    if not weight.requires_grad:
        site.storage, site.reason = Storage.EXACT, "a frozen weight, in the dtype autocast uses"
    else:
        session.record(site, x)
        site.exact_shapes = (tuple(weight.shape), tuple(weight.shape[::-1]))
    with session.attributed_to(site):
        return func(x, weight, bias)


def low_rank(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """ops.low_rank_linear and low_rank_conv: a layer with LoRA keeps its input at the site's width."""
    x, weight, bias, down, up, *_ = args
    if not keeps_something(x, weight, bias, down, up):
        return func(*args)
    site = session.site(op_name(func))
    session.record(site, x)
    site.exact_shapes = tuple(tuple(parameter.shape) for parameter in (weight, down, up))
    with session.attributed_to(site):
        return func(*args)


def _matched(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Operands in the weight's dtype where no autocast does it: frozen weights may be narrower than trained biases."""
    if torch.is_autocast_enabled(x.device.type) or (
        x.dtype == weight.dtype and (bias is None or bias.dtype == x.dtype)
    ):
        return x, weight, bias
    return x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype)


def conv(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.conv1d, conv2d and conv3d."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = bound(names, {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}, args, kwargs)
    x, weight, bias = _matched(given["input"], given["weight"], given["bias"])
    rest = tuple(given[n] for n in names[3:])
    if not keeps_something(x, weight, bias):
        return func(x, weight, bias, *rest)
    site = session.site("conv")
    dims = weight.dim() - 2
    is_frozen = not weight.requires_grad and not isinstance(rest[1], str) and x.dim() == dims + 2
    session.record(site, x, options_of("conv", is_frozen))
    if not is_frozen or site.storage is Storage.EXACT:
        site.exact_shapes = (tuple(weight.shape),)
        with session.attributed_to(site):
            return func(x, weight, bias, *rest)
    site.storage, site.reason = Storage.NONE, "a frozen weight, in the dtype autocast uses"
    stride, padding, dilation = (_per_dim(v, dims) for v in rest[:3])
    with session.attributed_to(site):
        return FrozenConvFunction.apply(x, weight, bias, stride, padding, dilation, rest[3])


def _per_dim(value: Any, dims: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return values * dims if len(values) == 1 else values
