"""ssf: a scale and a shift after every linear layer, convolution and norm (Lian et al. 2022, arXiv 2210.08823).

    y = γ ⊙ layer(x) + β, begun at γ = 1, β = 0; merged: W' = γ W, b' = γ b + β, row by row.

A norm ends in a scale and a shift of its own, so SSF after it is that scale and shift trained: the same functions, with
nothing added. A layer without a bias has a scale alone, which is what its plain model can take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.adapters.kind import Kind, Options, Rates
from s2a_core.adapters.kinds import norm
from s2a_core.hooks import pure

if TYPE_CHECKING:
    from torch import Tensor, nn

    from s2a_core.adapters.backbone import Backbone

GAIN, SHIFT = "s2a_gain", "s2a_shift"


def attach(backbone: Backbone, options: Options) -> None:
    """Two parameters per output channel; holds each layer's output, which regions rebuild: dγ = Σ dy ⊙ layer(x)."""
    import torch
    from torch import nn

    norm.attach(backbone, options)
    for layer in backbone.plain_layers():
        for name in (GAIN, SHIFT) if layer.bias is not None else (GAIN,):
            zeros = torch.zeros(layer.weight.shape[0], device=layer.weight.device)
            layer.register_parameter(name, nn.Parameter(zeros))
        layer.register_forward_hook(scale_and_shift)


@pure
def scale_and_shift(layer: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
    """Forward hook. y: [..., C] of a linear layer, [B, C, H, W] of a convolution; γ is 1 + gain.

    The gain is kept apart from the 1, beside which bf16 would round it away.
    """
    shape = (-1, 1, 1) if hasattr(layer, "kernel_size") else (-1,)
    change = y * getattr(layer, GAIN).to(y.dtype).reshape(shape)
    if hasattr(layer, SHIFT):
        change = change + getattr(layer, SHIFT).to(y.dtype).reshape(shape)
    return y + change


def merge(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Each row of a layer's weight times its γ; its bias times γ, plus the shift."""
    for key in [key for key in state if key.endswith(GAIN)]:
        prefix = key.removesuffix(GAIN)
        scale, shift, weight = 1 + state.pop(key), state.pop(prefix + SHIFT, None), state[f"{prefix}weight"]
        state[f"{prefix}weight"] = weight * scale.to(weight.dtype).reshape(-1, *(1,) * (weight.dim() - 1))
        if shift is not None:
            state[f"{prefix}bias"] = state[f"{prefix}bias"] * scale + shift


KIND = Kind("ssf", "scales and shifts of every layer", Rates(tokens=3e-3, maps=3e-3), attach, merge=merge)
