"""LoRA through peft: its layers run as one operator, and as peft runs them where it is merged or switched off."""

import copy
from collections.abc import Callable

import pytest
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
    return _with_changes(model)


def _with_changes(model: nn.Module) -> nn.Module:
    """LoRA begins as no change at all; here it is one."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    return model


def _adapted_cnn() -> nn.Module:
    """Bottlenecks: 1 x 1 convolutions, of stride 2 where a shortcut changes its size."""
    torch.manual_seed(0)
    model = timm.create_model("resnet50", layers=(1,) * 4, channels=(8, 8, 16, 16), num_classes=5).eval()
    add_adapters(model, AdapterSpec(("lora",)), 64)
    return _with_changes(model)


@pytest.mark.parametrize("adapted", [_adapted, _adapted_cnn])
def test_outputs_and_gradients_are_those_of_peft(adapted: Callable[[], nn.Module]) -> None:
    model, x = adapted(), torch.randn(2, 3, 64, 64)
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


def test_a_convolution_of_weights_made_anew_in_each_step_runs_as_peft_runs_it() -> None:
    model = timm.create_model("nf_resnet26", num_classes=5).eval()
    x = torch.randn(2, 3, 64, 64)
    before = model(x)
    add_adapters(model, AdapterSpec(("lora",)), 64)
    assert_close(model(x), before, rel=1e-5)


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


def test_layers_whose_weights_alone_are_read_are_left_out() -> None:
    model = timm.create_model("beit_base_patch16_224", img_size=32, embed_dim=48, depth=1, num_heads=3, num_classes=3)
    add_adapters(model, AdapterSpec.parse("lora-lite"), 32)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(grad is not None for grad in trained.values())
    assert {name for name in trained if "lora_" in name} == {
        f"blocks.0.mlp.fc1.lora_{letter}.default.weight" for letter in "AB"
    }


def test_what_follows_a_layer_may_change_its_output_in_place() -> None:
    model = timm.create_model("swinv2_tiny_window8_256", img_size=64, embed_dim=24, depths=(1, 1), num_heads=(2, 4))
    add_adapters(model, AdapterSpec.parse("lora"), 64)(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "lora_B" in name)
