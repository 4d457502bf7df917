"""Putting adapters on a model: freezing the rest, adding modules, starting equal to the pretrained model."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from s2a_core.adapters.blocks import input_shapes, repeated_blocks
from s2a_core.adapters.prompt import LowRankPrompt
from s2a_core.adapters.spec import AdapterSpec
from s2a_core.errors import BadAdapter
from s2a_core.models import data_config, head_parameters

PROMPT = "s2a_prompt"
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


def resolve(model: nn.Module, spec: AdapterSpec) -> AdapterSpec:
    """`auto` made concrete: bias and prompt on models with tokens, bias and norm on convolutional ones."""
    if not spec.is_auto:
        return spec
    has_tokens = any(isinstance(module, nn.LayerNorm) for module in model.modules()) and bool(repeated_blocks(model))
    return dataclasses.replace(spec, kinds=("bias", "prompt") if has_tokens else ("bias", "norm"))


def add_adapters(model: nn.Module, spec: AdapterSpec, image_size: int | None = None) -> nn.Module:
    """Freeze `model`, in place, but for the adapters of `spec` and the classifier; returns it.

    The outputs stay those of the pretrained model. Parameters and bytes held for backward by kind: head 0; bias one per
    output channel, 0 bytes; norm two per channel, x̂ of each norm; prompt see LowRankPrompt; lora 2·rank·width per
    linear layer, their inputs; full everything.
    Raises BadAdapter where the model has no place for an adapter.
    """
    spec = resolve(model, spec)
    head = head_parameters(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("full" in spec.kinds or name in head)
    if "bias" in spec.kinds:
        for name, parameter in model.named_parameters():
            if name.rsplit(".", 1)[-1].endswith("bias"):
                parameter.requires_grad_(True)
    if "norm" in spec.kinds:
        for module in model.modules():
            if isinstance(module, _NORMS):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(True)
    if "prompt" in spec.kinds:
        _add_prompts(model, spec.rank, image_size)
    if "lora" in spec.kinds:
        _add_lora(model, spec.rank, head)
    if "side" in spec.kinds:
        raise BadAdapter("side branches cannot be added by this version; use bias, prompt, norm, lora, head or full")
    model.s2a_adapter = spec  # type: ignore[assignment]
    return model


def trained_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """What a run must keep: trainable parameters, and the buffers that training changes where it changes any."""
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    state = model.state_dict()
    return {name: state[name].detach().cpu().clone() for name in state if name in trainable}


def _add_prompts(model: nn.Module, rank: int, image_size: int | None) -> None:
    blocks = repeated_blocks(model)
    size = image_size or int(data_config(model)["image_size"])
    shapes = input_shapes(model, [block for _, block in blocks], size)
    placed = 0
    for (_, block), shape in zip(blocks, shapes, strict=True):
        if shape is None or len(shape) not in (2, 3):
            continue
        channels_first = len(shape) == 3 and not _is_channels_last(block, shape)
        prompt = LowRankPrompt(shape, channels_first, rank)
        reference = next(block.parameters())
        block.add_module(PROMPT, prompt.to(reference.device, torch.float32))
        block.register_forward_pre_hook(_prepend)
        placed += 1
    if not placed:
        raise BadAdapter("prompt needs a model with repeated blocks over tokens or maps; this one has none: use bias")


def _prepend(block: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Forward pre-hook: the block sees its input with the prompt added."""
    prompted: Tensor = getattr(block, PROMPT)(args[0])
    return (prompted, *args[1:])


def _is_channels_last(block: nn.Module, shape: tuple[int, ...]) -> bool:
    """Maps of shape [H, W, C], as in Swin: the block's first LayerNorm is as wide as the last axis."""
    widths = [m.normalized_shape[-1] for m in block.modules() if isinstance(m, nn.LayerNorm)]
    return bool(widths) and widths[0] == shape[-1] and shape[0] == shape[1]


def _add_lora(model: nn.Module, rank: int, head: set[str]) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    heads = {name.rsplit(".", 1)[0] for name in head}
    targets = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n not in heads]
    if not targets:
        raise BadAdapter("lora needs linear layers; this model has none outside its classifier: use bias")
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), model)
    trainable = dict(model.named_parameters())
    for name in head:
        trainable[name].requires_grad_(True)
