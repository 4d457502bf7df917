"""LoRA through peft: which layers take it, and its product run as one operator with the layer's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MethodType
from typing import Any

from torch import Tensor, nn

from s2a_core.adapters.backbone import Backbone
from s2a_core.errors import BadAdapter
from s2a_core.operators import low_rank_conv, low_rank_linear


def add_lora(backbone: Backbone, targets: Sequence[str], rank: int) -> None:
    """Wrap layers with LoRA, in place; the head is trained as it is.

    Raises BadAdapter where no layer takes it.
    """
    from peft import LoraConfig, inject_adapter_in_model

    model = backbone.model
    if not targets:
        raise BadAdapter("LoRA finds no linear layer to change outside this model's classifier: use bias")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="|".join(map(re.escape, targets)))
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if name in backbone.head_parameters:
            parameter.requires_grad_(True)
    for layer in model.modules():
        if _is_one_product(getattr(layer, "base_layer", None)):
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]


def without_lora(model: nn.Module) -> nn.Module:
    """The model, in place, with the layers that LoRA wraps back where they were."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if hasattr(layer, "base_layer"):
                setattr(parent, name, layer.base_layer)
    vars(model).pop("peft_config", None)
    return model


def lora_layers(backbone: Backbone, widening_only: bool = False, with_convolutions: bool = True) -> list[str]:
    """Names of the linear layers, and of convolutions that are linear layers per pixel, outside the head.

    They are known by their type, whatever they are called. widening_only: those with more outputs than inputs.
    """
    kinds = (nn.Linear, nn.Conv2d) if with_convolutions else nn.Linear
    head = {module for owner in backbone.head_modules for module in owner.modules()}
    layers = {
        module: name for name, module in backbone.model.named_modules()
        if isinstance(module, kinds) and _is_linear(module) and module not in head and "s2a_" not in name
        and (not widening_only or _widens(module))
    }  # fmt: skip
    reached = backbone.called(layers)
    return [name for module, name in layers.items() if module in reached]


def _is_linear(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)


def _is_one_product(base: nn.Module | None) -> bool:
    """Whether its output is the product with its weight and no more: other convolutions pad, or change the weight."""
    return isinstance(base, nn.Linear) or (type(base) is nn.Conv2d and base.padding == (0, 0))


def _widens(module: nn.Module) -> bool:
    weight = module.weight
    return isinstance(weight, Tensor) and weight.shape[0] > weight.shape[1]


def _forward(layer: Any, x: Tensor) -> Tensor:
    """peft's forward where LoRA is switched off or merged, else the same sum in one operator."""
    name = layer.active_adapters[0]
    base = layer.base_layer
    if layer.disable_adapters or layer.merged or base.weight.requires_grad:
        result: Tensor = type(layer).forward(layer, x)
        return result
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    operands = (x, base.weight, base.bias, down, up, layer.scaling[name])
    return low_rank_linear(*operands) if isinstance(base, nn.Linear) else low_rank_conv(*operands, base.stride)
