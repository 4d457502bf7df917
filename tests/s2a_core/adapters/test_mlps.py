"""MLPs are found by their shapes, whatever a model calls their layers."""

import pytest
import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.mlps import mlps
from s2a_core.errors import BadAdapter


@pytest.mark.parametrize(
    ("name", "options", "size", "number", "ends"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, 32, 2, ("fc1", "fc2")),
        ("eva02_tiny_patch14_224", {"img_size": 28, "depth": 2}, 28, 2, ("fc1", "fc2")),  # gated
        ("convnext_atto", {}, 64, 12, ("fc1", "fc2")),
        ("mobilenetv2_100", {}, 64, 10, ("conv_pw", "conv_pwl")),
        ("efficientnet_b0", {}, 64, 9, ("conv_pw", "conv_pwl")),  # squeeze and excite in between
        ("resnet50", {}, 64, 0, ("", "")),
    ],
)
def test_pairs_of_layers(name: str, options: dict[str, int], size: int, number: int, ends: tuple[str, str]) -> None:
    model = timm.create_model(name, **options)
    names = {module: name for name, module in model.named_modules()}
    spans = mlps(model, torch.zeros(1, 3, size, size))
    assert len(spans) == number
    for span in spans:
        assert names[span.first].endswith(ends[0])
        assert names[span.last].endswith(ends[1])
        assert names[span.first].startswith(names[span.owner] + ".")


def test_without_mlps_the_bottlenecks_are_beside_the_blocks_that_keep_their_shape() -> None:
    model = add_adapters(timm.create_model("resnet50", num_classes=3), AdapterSpec(("adaptformer",)), 64)
    owners = {name.split(".s2a_")[0] for name, _ in model.named_parameters() if "s2a_bottleneck" in name}
    assert "layer1.1" in owners
    assert "layer1.0" not in owners


def test_a_model_without_blocks_is_refused_with_advice() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(BadAdapter, match="needs MLPs, or blocks that keep their shape"):
        add_adapters(model, AdapterSpec(("adaptformer",)), 4)
