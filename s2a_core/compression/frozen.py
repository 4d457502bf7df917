"""Frozen weights kept in a narrower dtype, so that autocast makes no second copy of them."""

from __future__ import annotations

import torch
from torch import nn

from s2a_core.errors import InvalidInput
from s2a_core.storage import FrozenWeights


def prepare_frozen_weights(model: nn.Module, how: FrozenWeights) -> int:
    """Casts every frozen fp32 parameter in place and returns the bytes saved. Trainable parameters stay as they are.

    how: `keep` does nothing; `bf16` halves fp32 weights. Running it twice changes nothing.
    """
    if how == "keep":
        return 0
    if how != "bf16":
        raise InvalidInput(
            f"frozen weights can be kept as they are (keep) or in bf16, not {how!r}", details={"value": how}
        )
    saved = 0
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.dtype == torch.float32:
            before = parameter.untyped_storage().nbytes()
            parameter.data = parameter.data.to(torch.bfloat16)
            saved += before - parameter.untyped_storage().nbytes()
    return saved


def needs_matching(model: nn.Module) -> bool:
    """Whether stock PyTorch would fail on the parameters as they are.

    Some are 16 bits wide and others are not, as after `prepare_frozen_weights`; or, on CUDA, a layer norm trains its
    bias alone (see operators/stock.py).
    """
    if len({p.dtype for p in model.parameters() if p.is_floating_point()}) > 1:
        return True
    return any(
        isinstance(module, nn.LayerNorm)
        and module.bias is not None
        and module.bias.is_cuda
        and module.bias.requires_grad
        and not module.weight.requires_grad
        for module in model.modules()
    )
