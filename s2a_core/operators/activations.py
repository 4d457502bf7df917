"""The smooth activations, each with the derivative that its tables are fitted to."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.kernels.curves import Curve
from s2a_core.operators.smooth import Smooth


def _gelu(x: Tensor) -> Tensor:
    """Phi(x) + x phi(x)."""
    return 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))) + x * torch.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _gelu_tanh(x: Tensor) -> Tensor:
    """Of x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    t = torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))
    inner = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner


def _silu(x: Tensor) -> Tensor:
    """s + x s (1 - s), s = sigmoid(x)."""
    s = torch.sigmoid(x)
    return s + x * s * (1.0 - s)


def _mish(x: Tensor) -> Tensor:
    """t + x (1 - t^2) sigmoid(x), t = tanh(softplus(x))."""
    t = torch.tanh(F.softplus(x))
    return t + x * (1.0 - t * t) * torch.sigmoid(x)


def _hardswish(x: Tensor) -> Tensor:
    """0 below -3, 1 above 3, (2x + 3) / 6 between."""
    return torch.where(x < -3.0, 0.0, torch.where(x <= 3.0, (2.0 * x + 3.0) / 6.0, 1.0))


def _sigmoid(x: Tensor) -> Tensor:
    """s (1 - s)."""
    s = torch.sigmoid(x)
    return s * (1.0 - s)


def _tanh(x: Tensor) -> Tensor:
    """1 - tanh(x)^2."""
    return 1.0 - torch.tanh(x) ** 2


def _elu(x: Tensor) -> Tensor:
    """exp(x) below 0, 1 above (alpha = 1)."""
    return torch.exp(x.clamp_max(0.0))


def _tanh_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _logsigmoid(x: Tensor) -> Tensor:
    """sigmoid(-x)."""
    return torch.sigmoid(-x)


# Klambauer et al. 2017, equation 2; as torch has them
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _selu(x: Tensor) -> Tensor:
    """scale above 0, scale * alpha * exp(x) below."""
    return _SELU_SCALE * torch.where(x > 0.0, 1.0, _SELU_ALPHA * torch.exp(x.clamp_max(0.0)))


GELU = Smooth(
    "gelu",
    F.gelu,
    function=F.gelu,
    derivative=_gelu,
    variants={("approximate", "tanh"): Curve("gelu_tanh", _tanh_gelu, _gelu_tanh)},
)
SILU = Smooth("silu", F.silu, function=F.silu, derivative=_silu)
MISH = Smooth("mish", F.mish, function=F.mish, derivative=_mish)
HARDSWISH = Smooth("hardswish", F.hardswish, function=F.hardswish, derivative=_hardswish)
SIGMOID = Smooth(
    "sigmoid", torch.sigmoid, Tensor.sigmoid, F.sigmoid, Tensor.sigmoid_, function=torch.sigmoid, derivative=_sigmoid
)
TANH = Smooth("tanh", torch.tanh, Tensor.tanh, F.tanh, function=torch.tanh, derivative=_tanh)
ELU = Smooth("elu", F.elu, function=F.elu, derivative=_elu)
SOFTPLUS = Smooth("softplus", F.softplus, function=F.softplus, derivative=torch.sigmoid)
LOGSIGMOID = Smooth("logsigmoid", F.logsigmoid, function=F.logsigmoid, derivative=_logsigmoid)
CELU = Smooth("celu", F.celu, torch.celu, function=F.celu, derivative=_elu)
SELU = Smooth("selu", F.selu, torch.selu, function=F.selu, derivative=_selu)
