"""What is compared: each contestant turns a timm model into trainable parameters and one forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from benchmarks.networks import LadderSide, VPTDeep
from benchmarks.published import GenericHooks, use_low_memory_bp

PRACTICE = "common practice"
PUBLISHED = "published, written by us"
OURS = "s2a"
LORA_RANK = 8
LORA_TARGETS = ("qkv", "proj", "fc1", "fc2")  # Linear layers of timm's transformers and ConvNeXt


class DoesNotApply(Exception):
    """This contestant has no form for this model; the message says why and the table shows it."""


@dataclass(frozen=True)
class Runner:
    """A model made ready by a contestant. `around` is entered for the forward pass."""

    model: nn.Module
    around: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of images x [B, 3, H, W] and labels y [B]."""
        with self.around():
            return nn.functional.cross_entropy(self.model(x).float(), y)

    def step(self, x: Tensor, y: Tensor) -> None:
        """Forward and backward; gradients replace the previous ones."""
        self.model.zero_grad(set_to_none=True)
        self.loss(x, y).backward()


@dataclass(frozen=True)
class Contestant:
    """name, kind: how the table calls and marks it; exact_as: who has the same trainables and exact gradients."""

    name: str
    kind: str
    build: Callable[[nn.Module, Tensor], Runner]
    exact_as: str | None = None


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of timm's classifier."""
    return list(model.get_classifier().parameters())  # type: ignore[operator]


def train_only(model: nn.Module, keep: Callable[[str], bool]) -> nn.Module:
    """Freeze what `keep(name)` refuses; the classifier is always trained. Frozen BatchNorm runs on its statistics."""
    head = {id(p) for p in head_parameters(model)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(keep(name) or id(parameter) in head)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not (module.affine and module.weight.requires_grad):
            module.eval()
    return model


def full(model: nn.Module, _: Tensor) -> Runner:
    """Every parameter."""
    return Runner(train_only(model, lambda name: True))


def head(model: nn.Module, _: Tensor) -> Runner:
    """The classifier alone, backbone in no_grad as a linear probe runs."""
    return Runner(train_only(model, lambda name: False))


def bias(model: nn.Module, _: Tensor) -> Runner:
    """Every bias (BitFit, Ben Zaken et al. 2022) with stock PyTorch operators."""
    return Runner(train_only(model, lambda name: name.endswith(".bias")))


def lora(model: nn.Module, _: Tensor) -> Runner:
    """LoRA of rank 8 on every Linear of the blocks, by the `peft` library."""
    from peft import LoraConfig, get_peft_model

    names = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    targets = [t for t in LORA_TARGETS if t in names]
    if not targets:
        raise DoesNotApply("no Linear layers in the blocks")
    classifier = head_parameters(model)
    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=targets, lora_dropout=0.0)
    dtype = next(model.parameters()).dtype
    wrapped = get_peft_model(model, config, autocast_adapter_dtype=False).to(dtype).train()
    for parameter in classifier:
        parameter.requires_grad_(True)
    return Runner(wrapped)


def vpt(model: nn.Module, _: Tensor) -> Runner:
    """VPT-deep with 10 prompts per block."""
    require_vit(model)
    return Runner(VPTDeep(train_only(model, lambda name: False)).to(next(model.parameters()).dtype))


def side_network(model: nn.Module, _: Tensor) -> Runner:
    """LST-like ladder of an eighth of the width."""
    require_vit(model)
    return Runner(LadderSide(train_only(model, lambda name: False)).to(next(model.parameters()).dtype))


def require_vit(model: nn.Module) -> None:
    """Refuse what is not a plain timm ViT."""
    if not isinstance(model, timm.models.VisionTransformer):
        raise DoesNotApply("written for plain ViTs")


def checkpointed(build: Callable[[nn.Module, Tensor], Runner]) -> Callable[[nn.Module, Tensor], Runner]:
    """The contestant `build` with timm's per-block gradient checkpointing."""

    def wrapped(model: nn.Module, x: Tensor) -> Runner:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
        return build(model, x)

    return wrapped


def generic_hooks(bits: int) -> Callable[[nn.Module, Tensor], Runner]:
    """Bias tuning with every saved tensor quantised, in the manner of GACT and ActNN."""
    return lambda model, x: Runner(bias(model, x).model, lambda: GenericHooks(bits))


def low_memory_bp(model: nn.Module, x: Tensor) -> Runner:
    """Bias tuning with ReGELU2 and MS-LN, in the manner of LowMemoryBP."""
    runner = bias(model, x)
    if not use_low_memory_bp(runner.model):
        raise DoesNotApply("no GELU or LayerNorm")
    train_only(runner.model, lambda name: name.endswith(".bias"))
    return runner


def compiled(budget: float) -> Callable[[nn.Module, Tensor], Runner]:
    """Bias tuning under torch's partitioner with `activation_memory_budget`; no code generation, so bytes, not time."""

    def build(model: nn.Module, x: Tensor) -> Runner:
        import torch._functorch.config as functorch_config

        runner = bias(model, x)
        traced = torch.compile(runner.model, backend="aot_eager_decomp_partition")
        return Runner(traced, lambda: functorch_config.patch(activation_memory_budget=budget))  # type: ignore[arg-type]

    return build


COMMON = (
    Contestant("full fine-tuning", PRACTICE, full),
    Contestant("full + checkpointing", PRACTICE, checkpointed(full), "full fine-tuning"),
    Contestant("head only (linear probe)", PRACTICE, head),
    Contestant("bias", PRACTICE, bias),
    Contestant("bias + checkpointing", PRACTICE, checkpointed(bias), "bias"),
    Contestant("LoRA r8 (peft)", PRACTICE, lora),
    Contestant("LoRA r8 + checkpointing", PRACTICE, checkpointed(lora), "LoRA r8 (peft)"),
    Contestant("VPT-deep 10", PUBLISHED, vpt),
    Contestant("LST-like side network", PUBLISHED, side_network),
    Contestant("bias + 8-bit hooks (GACT-like)", PUBLISHED, generic_hooks(8), "bias"),
    Contestant("bias + 4-bit hooks (GACT-like)", PUBLISHED, generic_hooks(4), "bias"),
    Contestant("bias + ReGELU2, MS-LN (LowMemoryBP-like)", PUBLISHED, low_memory_bp, "bias"),
    Contestant("bias + compile, memory budget 0.3", PRACTICE, compiled(0.3), "bias"),
)
