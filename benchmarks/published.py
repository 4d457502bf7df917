"""Published activation-compression methods, written by us from their papers so that they run beside s2a.

These are not the authors' programs, which need CUDA extensions; tables mark them "written by us". Bytes follow from the
papers' formats; speed of the originals' kernels is not represented.

    generic hooks   GACT (Liu et al., ICML 2022), ActNN (Chen et al., ICML 2021): every saved floating-point tensor is
                    quantised per group of 256 values, min-max, with stochastic rounding.
    ReGELU2         LowMemoryBP (Yang et al., ICML 2024): exact GELU forward; its derivative is a step function of four
                    levels, so a 2-bit index.
    MS-LN           the same paper: LayerNorm that keeps its normalised output and 1/std instead of its input.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import erf
from torch import Tensor, nn
from torch.nn import functional

GROUP = 256  # values per scale, as in ActNN and GACT
SMALLEST = 1024  # elements; statistics and the like stay exact, as in GACT


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Packed uint8 of `codes` (uint8 below 2**bits; bits 2, 4 or 8; numel a multiple of 8 // bits)."""
    if bits == 8:
        return codes
    fields = codes.view(-1, 8 // bits)
    packed = fields[:, 0].clone()
    for i in range(1, 8 // bits):
        packed |= fields[:, i] << (i * bits)
    return packed


def unpack_bits(packed: Tensor, bits: int) -> Tensor:
    """Inverse of pack_bits, flat."""
    if bits == 8:
        return packed
    mask = (1 << bits) - 1
    return torch.stack([(packed >> (i * bits)) & mask for i in range(8 // bits)], dim=-1).view(-1)


class GenericHooks(torch.autograd.graph.saved_tensors_hooks):
    """Context in which whatever autograd saves is quantised to `bits` (8 or 4), as GACT and ActNN do."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(self._pack, self._unpack)

    def _pack(self, saved: Tensor) -> Any:
        owner = saved if saved._base is None else saved._base
        is_weight = isinstance(owner, nn.Parameter) or (saved.is_leaf and saved.requires_grad)
        if is_weight or not saved.is_floating_point() or saved.numel() < SMALLEST:
            return saved
        flat = functional.pad(saved.detach().reshape(-1), (0, -saved.numel() % GROUP)).view(-1, GROUP)
        low, high = flat.amin(1, keepdim=True).float(), flat.amax(1, keepdim=True).float()
        step = ((high - low) / (2**self.bits - 1)).clamp_min(1e-12)
        codes = ((flat - low) / step + torch.rand_like(flat, dtype=torch.float32)).floor_().clamp_(0, 2**self.bits - 1)
        return pack_bits(codes.to(torch.uint8).view(-1), self.bits), low, step, saved.shape, saved.dtype

    def _unpack(self, kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        packed, low, step, shape, dtype = kept
        values = unpack_bits(packed, self.bits).view(-1, GROUP).to(torch.float32).mul_(step).add_(low)
        return values.view(-1)[: shape.numel()].view(shape).to(dtype)


@functools.cache
def gelu_steps() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(3 borders, 4 levels) of the step function nearest to GELU'(x) in E[(GELU'(x) - q)^2], x ~ N(0, 1)."""
    x = np.linspace(-6, 6, 4001)
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    slope = 0.5 * (1 + erf(x / np.sqrt(2))) + x * density

    def levels(borders: np.ndarray) -> np.ndarray:
        piece = np.searchsorted(np.sort(borders), x)
        weight = np.bincount(piece, density, 4)
        return np.asarray(np.bincount(piece, density * slope, 4) / np.maximum(weight, 1e-12))

    def error(borders: np.ndarray) -> float:
        piece = np.searchsorted(np.sort(borders), x)
        return float((density * (slope - levels(borders)[piece]) ** 2).sum())

    best = np.sort(minimize(error, np.array([-0.5, 0.1, 0.6]), method="Nelder-Mead", options={"xatol": 1e-5}).x)
    return tuple(best.tolist()), tuple(levels(best).tolist())


class _ReGELU2(torch.autograd.Function):
    """GELU; saves numel / 4 bytes: which of four levels of the derivative each element has."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        borders, _ = gelu_steps()
        codes = torch.zeros(x.numel() + -x.numel() % 4, dtype=torch.uint8, device=x.device)
        for border in borders:
            codes[: x.numel()] += (x.reshape(-1) > border).to(torch.uint8)
        ctx.save_for_backward(pack_bits(codes, 2))
        return functional.gelu(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (packed,), grad = ctx.saved_tensors, grads[0]
        table = torch.tensor(gelu_steps()[1], dtype=grad.dtype, device=grad.device)
        return grad * table[unpack_bits(packed, 2)[: grad.numel()].int()].view(grad.shape)


class ReGELU2(nn.Module):
    """nn.GELU with a 2-bit backward."""

    def forward(self, x: Tensor) -> Tensor:
        return _ReGELU2.apply(x)  # type: ignore[no-any-return]


class _MSLayerNorm(torch.autograd.Function):
    """LayerNorm over the last dimension; saves x_hat (x's dtype) and 1/std (fp32, one per row)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x_hat, _, rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, eps)
        ctx.save_for_backward(x_hat, rstd, weight)
        return torch.addcmul(bias, x_hat, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_hat, rstd, weight = ctx.saved_tensors
        grad, rows = grads[0], tuple(range(grads[0].dim() - 1))
        scaled = grad * weight
        # dx = (g - mean(g) - x_hat * mean(g * x_hat)) / std, with g = dy * weight
        dx = scaled - scaled.mean(-1, keepdim=True) - x_hat * (scaled * x_hat).mean(-1, keepdim=True)
        dweight = (grad * x_hat).sum(rows) if ctx.needs_input_grad[1] else None
        dbias = grad.sum(rows) if ctx.needs_input_grad[2] else None
        return (dx * rstd).to(grad.dtype), dweight, dbias, None


class MSLayerNorm(nn.Module):
    """A LayerNorm's parameters with a backward that needs no input."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return _MSLayerNorm.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-any-return]


def use_low_memory_bp(model: nn.Module) -> int:
    """Replace every plain nn.GELU and nn.LayerNorm of `model` in place; the number replaced."""
    replaced = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "GELU":
                setattr(parent, name, ReGELU2())
            elif type(child).__name__ == "LayerNorm" and isinstance(child, nn.LayerNorm) and child.elementwise_affine:
                setattr(parent, name, MSLayerNorm(child))
            else:
                continue
            replaced += 1
    return replaced
