"""LoRA through peft: its layers run as one operator, and as peft runs them where it is merged or switched off."""

import copy

import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from tests.assertions import assert_close


def _adapted() -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=2, num_heads=3, num_classes=5
    ).eval()
    add_adapters(model, AdapterSpec(("lora",)), 64)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    return model


def test_outputs_and_gradients_are_those_of_peft() -> None:
    model, x = _adapted(), torch.randn(2, 3, 64, 64)
    stock = copy.deepcopy(model)
    for layer in stock.modules():
        if hasattr(layer, "base_layer"):
            del layer.forward  # the class's own
    for one in (model, stock):
        one(x).square().mean().backward()
    assert_close(model(x), stock(x), rel=1e-5)
    for (name, mine), other in zip(model.named_parameters(), stock.parameters(), strict=True):
        if other.requires_grad:
            assert mine.grad is not None, name
            assert_close(mine.grad, other.grad, rel=1e-4)


def test_a_copy_runs_its_own_layers() -> None:
    model, x = _adapted(), torch.randn(1, 3, 64, 64)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    assert not torch.allclose(model(x), other(x))


def test_merged_layers_give_the_same() -> None:
    model, x = _adapted(), torch.randn(2, 3, 64, 64)
    before = model(x)
    for layer in model.modules():
        if hasattr(layer, "base_layer"):
            layer.merge()
    assert_close(model(x), before, rel=1e-5)
