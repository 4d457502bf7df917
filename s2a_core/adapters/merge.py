"""Folding adapters back into the weights, where that changes nothing: the state dict of a plain timm model."""

from __future__ import annotations

from torch import Tensor, nn

from s2a_core.adapters.prompt import LowRankPrompt
from s2a_core.adapters.side import SideLadder, SideResidual


def merged_state_dict(model: nn.Module) -> dict[str, Tensor] | None:
    """State dict with timm's names and the same function; None where an adapter adds what timm lacks (prompt, side).

    head, bias, norm and full change weights in place, so they are there already; LoRA's product is added to its weight.
    """
    if any(isinstance(module, (LowRankPrompt, SideResidual, SideLadder)) for module in model.modules()):
        return None
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "get_base_layer")}
    state = model.state_dict()
    merged: dict[str, Tensor] = {}
    for name, tensor in state.items():
        owner = next((layer for layer in layers if name.startswith(layer + ".")), None)
        if owner is None:
            merged[name] = tensor
        elif name.startswith(f"{owner}.base_layer."):
            leaf = name.removeprefix(f"{owner}.base_layer.")
            delta = layers[owner].get_delta_weight("default") if leaf == "weight" else None  # type: ignore[operator]
            merged[f"{owner}.{leaf}"] = tensor if delta is None else tensor + delta.to(tensor.dtype)
    return merged
