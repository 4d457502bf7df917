"""LoRA through peft: which layers take it, and its product run as one operator with the layer's own."""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import Tensor, nn

from s2a_core.adapters.blocks import called
from s2a_core.adapters.spec import AdapterSpec
from s2a_core.errors import BadAdapter
from s2a_core.models import head_parameters
from s2a_core.ops import low_rank_conv, low_rank_linear


def add_lora(model: nn.Module, spec: AdapterSpec, image_size: int) -> None:
    """Wrap the layers that take LoRA, in place; the classifier is trained as it is.

    Raises BadAdapter where no layer takes it.
    """
    from peft import LoraConfig, inject_adapter_in_model

    head, targets = head_parameters(model), lora_layers(model, spec, image_size)
    if not targets:
        raise BadAdapter(f"{spec} finds no linear layer to change outside this model's classifier: use bias")
    inject_adapter_in_model(LoraConfig(r=spec.rank, lora_alpha=2 * spec.rank, target_modules=targets), model)
    for name, parameter in model.named_parameters():
        if name in head:
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


def lora_layers(model: nn.Module, spec: AdapterSpec, image_size: int) -> list[str]:
    """Linear layers, and convolutions that are linear layers per pixel; lite: those with more outputs than inputs."""
    heads = {name.rsplit(".", 1)[0] for name in head_parameters(model)}
    layers = {
        module: name for name, module in model.named_modules()
        if _is_linear(module) and name not in heads and "s2a_" not in name and (not spec.lite or _widens(module))
    }  # fmt: skip
    reached = called(model, layers, image_size)
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
