"""Stock calls that PyTorch itself gets wrong, done right."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

# Beyond so many rows PyTorch's CUDA backward takes partial sums, whose width it reads off the weight's gradient: of a
# frozen weight there is none, and the backward of a trained bias fails ("got [0] but expected shape compatible with").
# Seen in 2.14; batches of 64 images of 224 pixels reach it in the first stages of Swin and ConvNeXt.
MOST_ROWS = 65536


def loses_bias_gradient(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> bool:
    """Whether the backward of F.layer_norm with these arguments would fail: see MOST_ROWS."""
    if bias is None or not bias.requires_grad or (weight is not None and weight.requires_grad):
        return False
    return input.is_cuda and input.numel() > MOST_ROWS * bias.numel()


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """F.layer_norm, its trained bias added afterwards where stock's backward would fail. Arguments as there."""
    if bias is None or not loses_bias_gradient(input, normalized_shape, weight, bias):
        return F.layer_norm(input, normalized_shape, weight, bias, eps)
    y = F.layer_norm(input, normalized_shape, weight, None, eps)
    return y.add_(bias)
