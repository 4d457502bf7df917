"""Pooling that keeps offsets inside the window (max) or nothing (average), both with exact gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core import kernels
from s2a_core.kernels.layout import LARGEST_WINDOW
from s2a_core.kernels.reference.pooling import pair
from s2a_core.operators.call import Call, Intent, check_packable
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import Operator
from s2a_core.storage import Storage


class MaxPoolFunction(StoringFunction):
    """max_pool2d. x: [B, C, H, W]. Saves the offset of the maximum in its window, 4 bits for windows up to 16."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        ceil_mode: bool,
    ) -> Tensor:
        y, payload = kernels.maxpool2d_fwd(x, kernel, stride, padding, dilation, ceil_mode)
        ctx.save_for_backward(payload)
        ctx.shape, ctx.options = tuple(x.shape), (kernel, stride, padding, dilation)
        return y

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (payload,) = ctx.saved_tensors
        return kernels.maxpool2d_bwd(dy, payload, ctx.shape, *ctx.options), None, None, None, None, None


class AvgPoolFunction(StoringFunction):
    """avg_pool2d. x: [B, C, H, W]. Saves nothing: the gradient depends on shapes alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, options: tuple[Any, ...]) -> Tensor:
        ctx.shape, ctx.options = tuple(x.shape), options
        return F.avg_pool2d(x, *options)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        kernel, stride, padding, ceil_mode, count_include_pad, divisor = ctx.options
        shape_only = dy.new_empty(1).expand(ctx.shape)
        dx = torch.ops.aten.avg_pool2d_backward(
            dy.contiguous(), shape_only, kernel, stride, padding, ceil_mode, count_include_pad, divisor
        )
        return dx, None


class AdaptiveAvgPoolFunction(StoringFunction):
    """adaptive_avg_pool2d. x: [B, C, H, W]. Saves nothing: the gradient depends on shapes alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: Any) -> Tensor:
        ctx.shape = tuple(x.shape)
        return F.adaptive_avg_pool2d(x, size)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        if dy.shape[-2:] == (1, 1):  # stock takes the mean, which rounds once in 16 bits
            return dy.expand(ctx.shape) / (ctx.shape[-2] * ctx.shape[-1]), None
        shape_only = dy.new_empty(1).expand(ctx.shape)
        return torch.ops.aten._adaptive_avg_pool2d_backward(dy.contiguous(), shape_only), None


class MaxPool(Operator):
    """max_pool2d of a batch of maps, with the offset of each maximum in its window."""

    knows = frozenset({"input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"})

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact as stock keeps it, or exact by an offset."""
        return (Storage.EXACT, Storage.MASK)

    def offered(self, given: dict[str, Any]) -> tuple[Storage, ...]:
        """An offset where a code can tell the positions of the window apart, and x is a batch."""
        kernel = pair(given["kernel_size"])
        fits = kernel[0] * kernel[1] <= LARGEST_WINDOW and given["input"].dim() == 4
        return self.storages if fits else (Storage.EXACT,)

    def run(self, call: Call) -> Any:
        """Stock, or with offsets."""
        given = call.given
        if call.site.storage is Storage.EXACT or Storage.MASK not in self.offered(given):
            return call.stock()
        check_packable(call.site.name, given["input"])
        call.site.storage, call.site.intent = Storage.MASK, Intent.CODES
        kernel = pair(given["kernel_size"])
        stride = pair(given["stride"]) if given["stride"] else kernel
        padding, dilation = pair(given["padding"]), pair(given["dilation"])
        return MaxPoolFunction.apply(given["input"], kernel, stride, padding, dilation, bool(given["ceil_mode"]))


class AvgPool(Operator):
    """An average over windows: shapes alone give its gradient."""

    packs = False
    is_roundable = True

    def __init__(self, name: str, *functions: Callable[..., Any], options: tuple[str, ...]) -> None:
        super().__init__(name, *functions)
        self.options = options
        self.knows = frozenset({"input", *options})

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact as stock keeps it, or nothing."""
        return (Storage.EXACT, Storage.NONE)

    def offered(self, given: dict[str, Any]) -> tuple[Storage, ...]:
        """Nothing where x is a batch of maps."""
        return self.storages if given["input"].dim() == 4 else (Storage.EXACT,)

    def run(self, call: Call) -> Any:
        """Stock, or without its input."""
        given = call.given
        if call.site.storage is Storage.EXACT or given["input"].dim() != 4:
            return call.stock()
        call.site.storage, call.site.intent = Storage.NONE, Intent.SHAPES
        options = tuple(given[name] for name in self.options)
        if len(options) == 1:
            return AdaptiveAvgPoolFunction.apply(given["input"], options[0])
        kernel = pair(options[0])
        stride = pair(options[1]) if options[1] else kernel
        return AvgPoolFunction.apply(given["input"], (kernel, stride, pair(options[2]), *options[3:]))


MAX_POOL2D = MaxPool("max_pool2d", F.max_pool2d)
AVG_POOL2D = AvgPool(
    "avg_pool2d", F.avg_pool2d,
    options=("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
)  # fmt: skip
ADAPTIVE_AVG_POOL2D = AvgPool("adaptive_avg_pool2d", F.adaptive_avg_pool2d, options=("output_size",))
