"""The table that maps torch functions to our operators. A handler runs one call, ours or stock, under the name of its site."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.compression.sites import SMOOTH_ACTIVATIONS, options_of
from s2a_core.errors import UnsupportedSite
from s2a_core.kernels import SUPPORTED_DTYPES
from s2a_core.ops import (
    ActivationFunction,
    AttentionFunction,
    AvgPoolFunction,
    DropoutFunction,
    FrozenBatchNormFunction,
    FrozenConvFunction,
    MaskedFunction,
    MaxPoolFunction,
)
from s2a_core.ops.norm import NormCall, packed_norm
from s2a_core.storage import Storage

if TYPE_CHECKING:
    from s2a_core.compression.session import Session

Handler = Callable[["Session", Any, tuple[Any, ...], dict[str, Any]], Any]


def _saves(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in tensors)


def _check(site: str, x: Tensor) -> None:
    if x.dtype not in SUPPORTED_DTYPES:
        names = ", ".join(str(d).removeprefix("torch.") for d in SUPPORTED_DTYPES)
        raise UnsupportedSite(
            f"{site} has dtype {str(x.dtype).removeprefix('torch.')}; packed storage takes {names}: "
            "cast the model, or plan this site as exact",
            details={"site": site, "dtype": str(x.dtype)},
        )
    if x.device.type not in ("cpu", "cuda"):
        raise UnsupportedSite(
            f"{site} is on {x.device}; packed storage runs on cpu and cuda: plan this site as exact",
            details={"site": site, "device": str(x.device)},
        )


def _stock(session: Session, site: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with session.attributed_to(site):
        return func(*args, **kwargs)


def _activation(name: str, inplace: bool = False) -> Handler:
    def handle(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["input"]
        if not _saves(x):
            return func(*args, **kwargs)
        variant = name
        if name == "gelu" and (args[1] if len(args) > 1 else kwargs.get("approximate", "none")) == "tanh":
            variant = "gelu_tanh"
        site = session.site(name)
        session.record(site, x)
        plain = name not in ("elu", "softplus") or (len(args) == 1 and all(v in (False, 1.0, 20.0) for v in kwargs.values()))
        if site.storage.bits is None or not plain:
            return _stock(session, site, func, args, kwargs)
        _check(site.name, x)
        table = session.table(site.name, variant, site.storage.bits)
        with session.attributed_to(_packed(site)):
            y = ActivationFunction.apply(x, variant, table)
        return x.copy_(y) if inplace or kwargs.get("inplace") else y

    return handle


def _packed(site: Any) -> Any:
    """The site with a reason, which keeps the fallback from coding our own payloads again."""
    site.reason = "codes"
    return site


def _piecewise(name: str, inplace: bool = False) -> Handler:
    def handle(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["input"]
        if not _saves(x):
            return func(*args, **kwargs)
        site = session.site(name)
        session.record(site, x)
        if site.storage is Storage.EXACT or site.storage is Storage.NONE:
            return _stock(session, site, func, args, kwargs)
        _check(site.name, x)
        site.storage = Storage.MASK
        params = _piecewise_params(name, args, kwargs)
        wants_inplace = inplace or bool(kwargs.get("inplace", args[-1] is True if len(args) > 1 else False))
        with session.attributed_to(_packed(site)):
            if wants_inplace and (x._is_view() or x.is_leaf):
                return x.copy_(MaskedFunction.apply(x, name, params, False))
            return MaskedFunction.apply(x, name, params, wants_inplace)

    return handle


def _piecewise_params(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[float, ...]:
    if name == "leaky_relu":
        return (float(kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)),)
    if name == "hardtanh":
        low = kwargs.get("min_val", args[1] if len(args) > 1 else -1.0)
        return (float(low), float(kwargs.get("max_val", args[2] if len(args) > 2 else 1.0)))
    return ()


def run_norm(session: Session, raw: Tensor, call: NormCall) -> Tensor:
    """Evaluates a norm under its site's storage."""
    from s2a_core.compression.session import Site

    storage = session.policy.storage(call.site)
    site = Site(call.site, call.kind, storage, "")
    if raw._is_view() and 2 * raw.numel() * raw.element_size() < raw.untyped_storage().nbytes():
        raw = raw.clone()  # a few picked tokens must not keep the whole map alive
    if not _saves(raw, call.weight, call.bias) or storage.bits is None:
        weight, bias = _norm_operands(raw, call)
        with session.attributed_to(site):
            if call.kind == "rms_norm":
                return F.rms_norm(raw, raw.shape[-1:], weight, call.eps)
            return F.layer_norm(raw, raw.shape[-1:], weight, bias, call.eps)
    _check(site.name, raw)
    with session.attributed_to(_packed(site)):
        return packed_norm(raw, call, storage.bits, session.rows_per_sample(raw))


def _norm_operands(raw: Tensor, call: NormCall) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias in one dtype: as they are where stock takes them, else raw's."""
    dtypes = {t.dtype for t in (call.weight, call.bias) if t is not None}
    if dtypes <= {raw.dtype} or (len(dtypes) == 1 and torch.is_autocast_enabled(raw.device.type)):
        return call.weight, call.bias
    weight = None if call.weight is None else call.weight.to(raw.dtype)
    return weight, None if call.bias is None else call.bias.to(raw.dtype)


def _layer_norm(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    given = {"weight": None, "bias": None, "eps": 1e-5, **dict(zip(names, args, strict=False)), **kwargs}
    return _norm(session, func, args, kwargs, "layer_norm", given)


def _rms_norm(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "normalized_shape", "weight", "eps")
    given = {"weight": None, "bias": None, "eps": None, **dict(zip(names, args, strict=False)), **kwargs}
    if given["eps"] is None:
        given["eps"] = torch.finfo(given["input"].dtype).eps
    return _norm(session, func, args, kwargs, "rms_norm", given)


def _norm(
    session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], kind: str, given: dict[str, Any]
) -> Any:
    x = given["input"]
    site = session.site(kind)
    if len(given["normalized_shape"]) != 1 or x.dim() < 2:
        return _stock(session, site, func, args, kwargs)
    if _saves(x, given["weight"], given["bias"]):
        session.record(site, x)
    call = NormCall(kind, given["eps"], given["weight"], given["bias"], site.name)
    return session.defer(x, call) if session.defers_norms else run_norm(session, x, call)


def _attention(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    q, k, v, mask = given.pop("query"), given.pop("key"), given.pop("value"), given.pop("attn_mask", None)
    if isinstance(mask, Tensor) and mask.is_floating_point() and mask.dtype != q.dtype:
        mask = mask.to(q.dtype)
    if not _saves(q, k, v, mask):
        return func(q, k, v, attn_mask=mask, **given)
    site = session.site("attention")
    session.record(site, q)
    if site.storage.bits is None:
        with session.attributed_to(site):
            return func(q, k, v, attn_mask=mask, **given)
    _check(site.name, q)
    with session.attributed_to(_packed(site)):
        return AttentionFunction.apply(q, k, v, mask, given, site.storage.bits, session.rounding_seed(site.name))


def _linear(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, weight, bias = (*args, *(kwargs.get(n) for n in ("input", "weight", "bias")[len(args) :]))
    if not _saves(x, weight, bias):
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


def _matched(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Operands in one dtype: the weight's, where no autocast does it. Frozen weights may be narrower than what is trained."""
    if torch.is_autocast_enabled(x.device.type) or (x.dtype == weight.dtype and (bias is None or bias.dtype == x.dtype)):
        return x, weight, bias
    return x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype)


def _conv(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    given |= {**dict(zip(names, args, strict=False)), **kwargs}
    x, weight, bias = _matched(given["input"], given["weight"], given["bias"])
    rest = tuple(given[n] for n in names[3:])
    if not _saves(x, weight, bias):
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


def _batch_norm(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = {"weight": None, "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5}
    given |= {**dict(zip(names, args, strict=False)), **kwargs}
    x, weight, bias = given["input"], given["weight"], given["bias"]
    if weight is not None and bias is not None and weight.dtype != bias.dtype:
        weight, bias = weight.float(), bias.float()
    if not _saves(x, weight, bias):
        return func(x, given["running_mean"], given["running_var"], weight, bias, *(given[n] for n in names[5:]))
    site = session.site("batch_norm")
    is_frozen = not given["training"] and (weight is None or not weight.requires_grad)
    session.record(site, x, options_of("batch_norm", is_frozen))
    if is_frozen and site.storage is not Storage.EXACT:
        site.storage, site.reason = Storage.NONE, "frozen statistics: the scale of each channel"
        with session.attributed_to(site):
            return FrozenBatchNormFunction.apply(x, given["running_mean"], given["running_var"], weight, bias, given["eps"])
    with session.attributed_to(site):
        return func(x, given["running_mean"], given["running_var"], weight, bias, *(given[n] for n in names[5:]))


def _pair(v: Any) -> tuple[int, int]:
    if isinstance(v, tuple | list):
        return (int(v[0]), int(v[-1]))
    return (int(v), int(v))


def _max_pool2d(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    given = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
    given |= {**dict(zip(names, args, strict=False)), **kwargs}
    x = given["input"]
    if not _saves(x) or given["return_indices"] or x.dim() != 4:
        return func(*args, **kwargs)
    site = session.site("max_pool2d")
    session.record(site, x)
    if site.storage is Storage.EXACT:
        return _stock(session, site, func, args, kwargs)
    _check(site.name, x)
    site.storage = Storage.MASK
    kernel = _pair(given["kernel_size"])
    stride = kernel if given["stride"] in (None, [], ()) else _pair(given["stride"])
    with session.attributed_to(_packed(site)):
        return MaxPoolFunction.apply(
            x, kernel, stride, _pair(given["padding"]), _pair(given["dilation"]), bool(given["ceil_mode"])
        )


def _avg_pool2d(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    given = {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True, "divisor_override": None}
    given |= {**dict(zip(names, args, strict=False)), **kwargs}
    x = given["input"]
    if not _saves(x) or x.dim() != 4:
        return func(*args, **kwargs)
    site = session.site("avg_pool2d")
    session.record(site, x, options_of("avg_pool2d"))
    if site.storage is Storage.EXACT:
        return _stock(session, site, func, args, kwargs)
    kernel = _pair(given["kernel_size"])
    stride = kernel if given["stride"] in (None, [], ()) else _pair(given["stride"])
    options = (kernel, stride, _pair(given["padding"]), *(given[n] for n in names[4:]))
    site.storage, site.reason = Storage.NONE, "shapes alone"
    with session.attributed_to(site):
        return AvgPoolFunction.apply(x, options)


def _dropout(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = {"p": 0.5, "training": True, "inplace": False}
    given |= {**dict(zip(("input", "p", "training", "inplace"), args, strict=False)), **kwargs}
    x = given["input"]
    if not given["training"] or given["p"] == 0.0:
        return x  # stock copies here
    if not _saves(x) or given["inplace"]:
        return func(*args, **kwargs)
    site = session.site("dropout")
    session.record(site, x)
    if site.storage is Storage.EXACT:
        return _stock(session, site, func, args, kwargs)
    _check(site.name, x)
    site.storage = Storage.MASK
    with session.attributed_to(_packed(site)):
        return DropoutFunction.apply(x, float(given["p"]))


def _keep_as_hook(op: str) -> Handler:
    """Stock operator whose saved tensors the saved-tensor hook codes, under a site with a counter."""

    def handle(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not _saves(*tensors) or (op == "mul" and len(tensors) < 2):
            return func(*args, **kwargs)
        site = session.site(op)
        if session.specs is not None:
            kept = _kept_operand(op, tensors)
            if kept is not None:
                session.record(site, kept)
        return _stock(session, site, func, args, kwargs)

    return handle


def _kept_operand(op: str, tensors: list[Tensor]) -> Tensor | None:
    """The largest tensor that autograd keeps: an operand whose partner needs a gradient, and is no parameter."""
    if op in ("softmax", "normalize", "group_norm") or len(tensors) < 2:
        return tensors[0]
    kept = [a for a, b in (tensors[:2], tensors[1::-1]) if b.requires_grad and not (a.is_leaf and a.requires_grad)]
    return max(kept, key=Tensor.numel, default=None)


HANDLERS: dict[Any, Handler] = {
    F.gelu: _activation("gelu"),
    F.silu: _activation("silu"),
    F.mish: _activation("mish"),
    F.hardswish: _activation("hardswish"),
    F.elu: _activation("elu"),
    F.softplus: _activation("softplus"),
    torch.sigmoid: _activation("sigmoid"),
    Tensor.sigmoid: _activation("sigmoid"),
    F.sigmoid: _activation("sigmoid"),
    Tensor.sigmoid_: _activation("sigmoid", inplace=True),
    torch.tanh: _activation("tanh"),
    Tensor.tanh: _activation("tanh"),
    F.relu: _piecewise("relu"),
    torch.relu: _piecewise("relu"),
    Tensor.relu: _piecewise("relu"),
    torch.relu_: _piecewise("relu", inplace=True),
    Tensor.relu_: _piecewise("relu", inplace=True),
    F.relu6: _piecewise("relu6"),
    F.hardtanh: _piecewise("hardtanh"),
    F.leaky_relu: _piecewise("leaky_relu"),
    F.hardsigmoid: _piecewise("hardsigmoid"),
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    F.scaled_dot_product_attention: _attention,
    F.linear: _linear,
    F.conv1d: _conv,
    F.conv2d: _conv,
    F.conv3d: _conv,
    F.batch_norm: _batch_norm,
    F.max_pool2d: _max_pool2d,
    F.avg_pool2d: _avg_pool2d,
    F.dropout: _dropout,
    F.group_norm: _keep_as_hook("group_norm"),
    F.normalize: _keep_as_hook("normalize"),
    F.softmax: _keep_as_hook("softmax"),
    torch.softmax: _keep_as_hook("softmax"),
    Tensor.softmax: _keep_as_hook("softmax"),
    torch.matmul: _keep_as_hook("matmul"),
    Tensor.matmul: _keep_as_hook("matmul"),
    Tensor.__matmul__: _keep_as_hook("matmul"),
    torch.bmm: _keep_as_hook("bmm"),
    Tensor.bmm: _keep_as_hook("bmm"),
    torch.mul: _keep_as_hook("mul"),
    Tensor.mul: _keep_as_hook("mul"),
    Tensor.__mul__: _keep_as_hook("mul"),
    Tensor.__rmul__: _keep_as_hook("mul"),
}

__all__ = ["HANDLERS", "SMOOTH_ACTIVATIONS", "Handler", "run_norm"]
