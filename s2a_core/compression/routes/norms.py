"""Layer, RMS and batch normalisation. Layer and RMS norms are deferred, so that a region can absorb them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.compression.replay import wide
from s2a_core.compression.routes.calls import bound, check, keeps_something, packed, stock
from s2a_core.compression.routes.generic import hooked
from s2a_core.compression.sites import Site, options_of
from s2a_core.ops import FrozenBatchNormFunction
from s2a_core.ops.norm import NormCall, packed_norm
from s2a_core.storage import Storage

if TYPE_CHECKING:
    from s2a_core.compression.session import Session


def run_norm(session: Session, raw: Tensor, call: NormCall) -> Tensor:
    """Evaluates a norm under its site's storage."""
    storage = session.policy.storage(call.site)
    site = Site(call.site, call.kind, storage, "")
    if raw._is_view() and 2 * raw.numel() * raw.element_size() < raw.untyped_storage().nbytes():
        raw = raw.clone()  # a few picked tokens must not keep the whole map alive
    if not keeps_something(raw, call.weight, call.bias) or storage.bits is None:
        weight, bias = _norm_operands(raw, call)
        with session.attributed_to(site):
            if call.kind == "rms_norm":
                return F.rms_norm(raw, raw.shape[-1:], weight, call.eps)
            return F.layer_norm(raw, raw.shape[-1:], weight, bias, call.eps)
    check(site.name, raw)
    with session.attributed_to(packed(site)):
        return packed_norm(raw, call, storage.bits, session.rows_per_sample(raw))


def _norm_operands(raw: Tensor, call: NormCall) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias in one dtype: as they are where stock takes them, else raw's."""
    dtypes = {t.dtype for t in (call.weight, call.bias) if t is not None}
    if dtypes <= {raw.dtype} or (len(dtypes) == 1 and torch.is_autocast_enabled(raw.device.type)):
        return call.weight, call.bias
    weight = None if call.weight is None else call.weight.to(raw.dtype)
    return weight, None if call.bias is None else call.bias.to(raw.dtype)


def layer_norm(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.layer_norm."""
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    given = bound(names, {"weight": None, "bias": None, "eps": 1e-5}, args, kwargs)
    return _norm(session, func, args, kwargs, "layer_norm", given)


def rms_norm(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.rms_norm."""
    names = ("input", "normalized_shape", "weight", "eps")
    given = bound(names, {"weight": None, "bias": None, "eps": None}, args, kwargs)
    if given["eps"] is None:
        wide_dtype = torch.promote_types(given["input"].dtype, torch.float32)
        given["eps"] = torch.finfo(wide_dtype).eps  # as stock, which normalises 16-bit inputs in fp32
    return _norm(session, func, args, kwargs, "rms_norm", given)


def _norm(
    session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], kind: str, given: dict[str, Any]
) -> Any:
    x = given["input"]
    site = session.site(kind)
    if len(given["normalized_shape"]) != 1 or x.dim() < 2:
        return stock(session, site, func, args, kwargs)
    if keeps_something(x, given["weight"], given["bias"]):
        session.record(site, x)
    call = NormCall(kind, given["eps"], given["weight"], given["bias"], site.name)
    return session.defer(x, call) if session.defers_norms else run_norm(session, x, call)


def group_norm(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.group_norm: stock, what it keeps coded by the hook."""
    names = ("input", "num_groups", "weight", "bias", "eps")
    given = bound(names, {"weight": None, "bias": None, "eps": 1e-5}, args, kwargs)
    scales = wide(given["weight"]), wide(given["bias"])
    return _hooked_group_norm(session, func, (given["input"], given["num_groups"], *scales, given["eps"]), {})


_hooked_group_norm = hooked("group_norm")


def batch_norm(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.batch_norm."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = bound(names, {"weight": None, "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5}, args, kwargs)
    x, mean = given["input"], given["running_mean"]
    weight, bias = wide(given["weight"], mean), wide(given["bias"], mean)
    if not keeps_something(x, weight, bias):
        return func(x, given["running_mean"], given["running_var"], weight, bias, *(given[n] for n in names[5:]))
    site = session.site("batch_norm")
    is_frozen = not given["training"] and (weight is None or not weight.requires_grad)
    session.record(site, x, options_of("batch_norm", is_frozen))
    if is_frozen and site.storage is not Storage.EXACT:
        site.storage, site.reason = Storage.NONE, "frozen statistics: the scale of each channel"
        with session.attributed_to(site):
            return FrozenBatchNormFunction.apply(
                x, given["running_mean"], given["running_var"], weight, bias, given["eps"]
            )
    with session.attributed_to(site):
        return func(x, given["running_mean"], given["running_var"], weight, bias, *(given[n] for n in names[5:]))
