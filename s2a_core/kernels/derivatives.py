"""The derivatives f'(x) that tables are fitted to, in the precision of their input."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def gelu(x: Tensor) -> Tensor:
    """Phi(x) + x phi(x)."""
    return 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))) + x * torch.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def gelu_tanh(x: Tensor) -> Tensor:
    """Of x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    t = torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))
    inner = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner


def silu(x: Tensor) -> Tensor:
    """s + x s (1 - s), s = sigmoid(x)."""
    s = torch.sigmoid(x)
    return s + x * s * (1.0 - s)


def mish(x: Tensor) -> Tensor:
    """t + x (1 - t^2) sigmoid(x), t = tanh(softplus(x))."""
    t = torch.tanh(F.softplus(x))
    return t + x * (1.0 - t * t) * torch.sigmoid(x)


def hardswish(x: Tensor) -> Tensor:
    """0 below -3, 1 above 3, (2x + 3) / 6 between."""
    return torch.where(x < -3.0, 0.0, torch.where(x <= 3.0, (2.0 * x + 3.0) / 6.0, 1.0))


def sigmoid(x: Tensor) -> Tensor:
    """s (1 - s)."""
    s = torch.sigmoid(x)
    return s * (1.0 - s)


def tanh(x: Tensor) -> Tensor:
    """1 - tanh(x)^2."""
    return 1.0 - torch.tanh(x) ** 2


def elu(x: Tensor) -> Tensor:
    """exp(x) below 0, 1 above (alpha = 1)."""
    return torch.exp(x.clamp_max(0.0))


def softplus(x: Tensor) -> Tensor:
    """sigmoid(x) (beta = 1)."""
    return torch.sigmoid(x)


DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "mish": mish,
    "hardswish": hardswish,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "elu": elu,
    "softplus": softplus,
}
