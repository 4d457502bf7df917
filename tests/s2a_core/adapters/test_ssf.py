"""SSF stands after the layers whose weights can take it, and after no others."""

import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.kinds.ssf import GAIN, SHIFT, scale_and_shift

SSF = AdapterSpec(("ssf",))


def _layers(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if hasattr(module, GAIN)}


def test_it_stands_after_every_layer_of_a_transformer_and_trains_its_norms() -> None:
    model = add_adapters(timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=3), SSF, 32)
    inside = {f"blocks.0.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert _layers(model) == {"patch_embed.proj", *inside}
    assert model.blocks[0].norm1.weight.requires_grad
    assert not model.blocks[0].attn.qkv.weight.requires_grad


def test_a_layer_without_a_bias_has_a_scale_alone() -> None:
    model = add_adapters(timm.create_model("resnet18", num_classes=3), SSF, 32)
    assert hasattr(model.conv1, GAIN)
    assert not hasattr(model.conv1, SHIFT)
    assert not hasattr(model.fc, GAIN), "the head is trained itself"


def test_layers_that_normalise_or_share_their_weight_are_left_out() -> None:
    assert _layers(add_adapters(timm.create_model("nf_resnet26", num_classes=3), SSF, 32)) == set()
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(64, 2))
    model[2].weight = model[1].weight
    add_adapters(model, SSF, 4)
    assert _layers(model) == {"0"}


def test_small_scales_survive_bf16() -> None:
    """γ = 1 + gain: of 1.003 bf16 makes 1, of the gain alone it does not."""
    layer, y = nn.Linear(4, 4), torch.full((1, 4), 1.9, dtype=torch.bfloat16)
    layer.register_parameter(GAIN, nn.Parameter(torch.full((4,), 0.003)))
    assert (torch.tensor(1.003).bfloat16() * y == y).all()
    assert (scale_and_shift(layer, (), y) > y).all()
