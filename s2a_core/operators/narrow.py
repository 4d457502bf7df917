"""`NarrowWeight`: a frozen weight kept as codes of 8 or 4 bits, decoded by each product that reads it.

A tensor subclass whose memory is the codes themselves: moving, counting and freeing it are those of any tensor, and
shape and dtype are those of the weight it stands for. A linear layer, a convolution, either with LoRA, or an embedding
decodes it in forward and again in backward, so the whole weight lives as long as one product; autograd keeps the codes.
Any other function is given the decoded weight. Writing to it raises: a trained weight is not coded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2a_core.errors import InvalidInput
from s2a_core.kernels.sums import column_sum
from s2a_core.operators.call import autocast_enabled, saves_tensors
from s2a_core.operators.convolution import FrozenConvFunction, per_dim
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.low_rank import conv_sum, linear_sum, low_rank_conv, low_rank_linear
from s2a_core.operators.signature import bound
from s2a_core.operators.weight_codes import WeightCodes
from s2a_core.operators.writes import may_write


class NarrowWeight(Tensor):
    """See the module. codes: how its bytes are read."""

    codes: WeightCodes

    @classmethod
    def of(cls, payload: Tensor, codes: WeightCodes) -> NarrowWeight:
        """The weight that a payload, uint8 [codes.num_bytes], stands for."""
        narrow: NarrowWeight = payload.as_subclass(cls)
        narrow.codes = codes
        return narrow

    @property
    def payload(self) -> Tensor:
        """The codes and scales, uint8, in the same memory."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.detach()

    def decoded(self, dtype: torch.dtype | None = None) -> Tensor:
        """The weight in its own memory, in its own dtype unless another is given."""
        return self.codes.decode(self.payload, dtype or self.codes.dtype)

    def __repr__(self) -> str:  # type: ignore[override]
        """One line."""
        return f"NarrowWeight({self.codes.format}, {tuple(self.codes.shape)}, {self.codes.dtype})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles are of the codes."""
        return NarrowWeight.of, (self.payload, self.codes)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A parameter stays one."""
        copied = NarrowWeight.of(self.payload.clone(), self.codes)
        memo[id(self)] = nn.Parameter(copied, requires_grad=False) if isinstance(self, nn.Parameter) else copied
        return memo[id(self)]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        own = _OWN.get(func)
        if own is not None and isinstance(args[0], NarrowWeight):
            return own(*args, **kwargs)
        if func in _OF_PAYLOAD:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        product = _PRODUCTS.get(func)
        if product is not None:
            result = product(func, args, kwargs)
            if result is not NotImplemented:
                return result
        if args and isinstance(args[0], NarrowWeight) and may_write(func, args, kwargs):
            raise InvalidInput(
                f"{func.__name__} would change a frozen weight that is kept as {args[0].codes.format} codes: "
                "train it as it is, or load the model without a weight format"
            )
        return func(*map(_decoded, args), **{name: _decoded(value) for name, value in kwargs.items()})


def _decoded(tree: Any) -> Any:
    """The same nest of tuples and lists with every narrow weight decoded."""
    if isinstance(tree, NarrowWeight):
        return tree.decoded()
    return type(tree)(map(_decoded, tree)) if type(tree) in (tuple, list) else tree


class NarrowLinearFunction(StoringFunction):
    """y = x·Wᵀ + b of codes of W. x: [..., K], W: [M, K], y: [..., M]. Saves the codes alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: NarrowWeight, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return F.linear(x, weight.decoded(x.dtype), bias)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        dx = dy @ weight.decoded(dy.dtype) if ctx.needs_input_grad[0] else None  # [..., M] x [M, K]
        db = column_sum(dy.flatten(0, -2)) if ctx.needs_input_grad[2] else None
        return dx, None, db


def _operands(x: Tensor, weight: NarrowWeight, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Input and bias in autocast's dtype, else in the weight's."""
    dtype = torch.get_autocast_dtype(x.device.type) if autocast_enabled(x) else weight.codes.dtype
    return x.to(dtype), None if bias is None else bias.to(dtype)


def _linear(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, weight, bias = _linear_operands(*args, **kwargs)
    if not isinstance(weight, NarrowWeight):
        return NotImplemented
    x, bias = _operands(x, weight, bias)
    if saves_tensors(x, bias):
        return NarrowLinearFunction.apply(x, weight, bias)
    return F.linear(x, weight.decoded(x.dtype), bias)


def _linear_operands(input: Any, weight: Any, bias: Any = None) -> tuple[Any, Any, Any]:
    return input, weight, bias


def _convolution(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = bound(func, args, kwargs)
    if given is None or not isinstance(given["weight"], NarrowWeight):
        return NotImplemented
    weight: NarrowWeight = given["weight"]
    given["input"], given["bias"] = _operands(given["input"], weight, given["bias"])
    x, dims = given["input"], len(weight.codes.shape) - 2
    if not saves_tensors(x, given["bias"]) or isinstance(given["padding"], str) or x.dim() != dims + 2:
        given["weight"] = weight.decoded(x.dtype)
        return func(**given)
    options = (per_dim(given[name], dims) for name in ("stride", "padding", "dilation"))
    return FrozenConvFunction.apply(x, weight, given["bias"], *options, given["groups"])


def _low_rank(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operator itself: the products inside of it decode, and what it saves are the codes."""
    given = bound(func, args, kwargs)
    if given is None or not isinstance(given["weight"], NarrowWeight):
        return NotImplemented
    return (linear_sum if func is low_rank_linear else conv_sum)(**given)


def _embedding(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The rows that are looked up, decoded alone."""
    given = bound(func, args, kwargs)
    if given is None or not isinstance(given["weight"], NarrowWeight) or given["max_norm"] is not None:
        return NotImplemented
    rows, place = torch.unique(given["input"], return_inverse=True)
    return F.embedding(place, _rows(given["weight"], rows))


def _rows(weight: NarrowWeight, rows: Tensor) -> Tensor:
    """Some rows of a weight [V, C], decoded."""
    codes, payload = weight.codes, weight.payload
    bits = 4 if codes.format == "nf4" else 8
    count, row = codes.shape
    if codes.format == "float" or row * bits % 8:
        return weight.decoded()[rows]
    end, per_row = count * row * bits // 8, row // codes.group
    few = replace(codes, shape=torch.Size((len(rows), row)))
    parts = [payload[:end].view(count, -1)[rows].flatten()]
    parts += [payload.new_zeros(parts[0].numel() % 2)]
    scales = payload[end + end % 2 :].view(-1, count, 2 * per_row)
    parts += [table[rows].flatten() for table in scales]
    return few.decode(torch.cat(parts), codes.dtype)


_PRODUCTS: dict[Any, Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]] = {
    F.linear: _linear,
    F.conv1d: _convolution,
    F.conv2d: _convolution,
    F.conv3d: _convolution,
    F.embedding: _embedding,
    low_rank_linear: _low_rank,
    low_rank_conv: _low_rank,
}


def _size(weight: NarrowWeight, dim: int | None = None) -> Any:
    return weight.codes.shape if dim is None else weight.codes.shape[dim]


def _like(weight: NarrowWeight, payload: Tensor, dtype: torch.dtype | None = None) -> NarrowWeight:
    codes = replace(weight.codes, dtype=dtype or weight.codes.dtype)
    if codes.format == "float" and codes.dtype != weight.codes.dtype:
        payload = codes.encode(weight.codes.decode(payload, codes.dtype))
    return NarrowWeight.of(payload, codes)


def _to(weight: NarrowWeight, *args: Any, **kwargs: Any) -> Any:
    """Another device moves the codes, another floating dtype is what the codes stand in from then on."""
    device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **{k: v for k, v in kwargs.items() if k != "copy"})
    if dtype is not None and not dtype.is_floating_point:
        return weight.decoded().to(*args, **kwargs)
    payload = weight.payload
    moved = payload if device is None else payload.to(device, non_blocking=non_blocking)
    return _like(weight, moved.clone() if kwargs.get("copy") and moved is payload else moved, dtype)


def _set_data(weight: NarrowWeight, value: Any) -> None:
    if not isinstance(value, NarrowWeight):
        raise InvalidInput("a weight that is kept as codes takes no dense values: load the model without them")
    with torch._C.DisableTorchFunctionSubclass():
        Tensor.data.__set__(weight, value.payload)  # type: ignore[attr-defined]
    weight.codes = value.codes


def _empty_like(weight: NarrowWeight, *, dtype: Any = None, device: Any = None, **rest: Any) -> Tensor:
    dtype = weight.codes.dtype if dtype is None else dtype
    return torch.empty(weight.codes.shape, dtype=dtype, device=device or weight.payload.device)


_OWN: dict[Any, Callable[..., Any]] = {
    Tensor.shape.__get__: _size,  # type: ignore[attr-defined]
    Tensor.size: _size,
    Tensor.dim: lambda w: len(w.codes.shape),
    Tensor.ndim.__get__: lambda w: len(w.codes.shape),  # type: ignore[attr-defined]
    Tensor.numel: lambda w: w.codes.shape.numel(),
    torch.numel: lambda w: w.codes.shape.numel(),
    Tensor.__len__: lambda w: w.codes.shape[0],
    Tensor.dtype.__get__: lambda w: w.codes.dtype,  # type: ignore[attr-defined]
    Tensor.is_floating_point: lambda w: True,
    torch.is_floating_point: lambda w: True,
    Tensor.element_size: lambda w: w.codes.dtype.itemsize,
    Tensor.is_contiguous: lambda w, *_, **__: True,
    Tensor.contiguous: lambda w, *_, **__: w,
    Tensor.detach: lambda w: _like(w, w.payload),
    Tensor.data.__get__: lambda w: _like(w, w.payload),  # type: ignore[attr-defined]
    Tensor.data.__set__: _set_data,  # type: ignore[attr-defined]
    Tensor.clone: lambda w, *_, **__: _like(w, w.payload.clone()),
    Tensor.to: _to,
    Tensor.cpu: lambda w: _to(w, "cpu"),
    Tensor.cuda: lambda w, device="cuda", **_: _to(w, device),
    Tensor.float: lambda w: _to(w, torch.float32),
    Tensor.half: lambda w: _to(w, torch.float16),
    Tensor.bfloat16: lambda w: _to(w, torch.bfloat16),
    torch.empty_like: _empty_like,
}
# What is asked of the memory, or of the parameter as autograd's.
_OF_PAYLOAD = {
    *(
        getattr(getattr(Tensor, name), accessor)
        for name in ("requires_grad", "grad", "grad_fn", "is_leaf", "device", "is_cuda", "is_meta", "layout", "nbytes",
                     "_version", "_base", "is_sparse", "is_quantized", "is_mkldnn", "_backward_hooks")
        for accessor in ("__get__", "__set__")
        if hasattr(getattr(Tensor, name), accessor)
    ),
    Tensor.requires_grad_, Tensor.untyped_storage, Tensor.data_ptr, Tensor.storage_offset, Tensor.get_device,
    Tensor._is_view, Tensor.is_shared, Tensor.is_pinned, Tensor.register_hook,
    torch._has_compatible_shallow_copy_type,  # asked by Module.to of every parameter
}  # fmt: skip
