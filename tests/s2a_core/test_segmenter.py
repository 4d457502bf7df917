"""Backbones of many families give logits of every pixel, and adapters find their places in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.head import head_parameters
from s2a_core.batches import samples_of_pair
from s2a_core.errors import InvalidInput
from s2a_core.models import data_config, load_model
from s2a_core.outputs.tensors import save_tensors
from s2a_core.planning import plan
from s2a_core.profiling import profile
from s2a_core.segmenter import Segmenter, chosen_levels, load_segmenter
from s2a_core.tasks import segmentation
from s2a_core.verify import measured_peak

FAMILIES = {
    "vit_tiny_patch16_224": [2, 5, 8, 11],
    "swin_tiny_patch4_window7_224": [0, 1, 2, 3],
    "hiera_tiny_224": [0, 1, 2, 3],
    "convnext_atto": [0, 1, 2, 3],
    "resnet10t": [1, 2, 3, 4],
    "mobilenetv3_small_050": [1, 2, 3, 4],
    "efficientnet_b0": [1, 2, 3, 4],
    "xcit_nano_12_p16_224": [2, 5, 8, 11],
    "crossvit_tiny_240": [2, 5],
    "pvt_v2_b0": [0, 1, 2, 3],
    "beit_base_patch16_224": [2, 5, 8, 11],
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_backbone_gives_logits_of_every_pixel(name: str) -> None:
    backbone = timm.create_model(name, num_classes=7).eval()
    size = int(data_config(backbone)["image_size"])
    model = Segmenter(backbone, 3, size).eval()
    assert model.levels == FAMILIES[name]
    images = torch.randn(1, 3, size, size)
    assert model(images).shape == (1, 3, size, size)
    model(images).sum().backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not silent, "trained in full, they would take memory for nothing"


def test_levels_are_one_of_each_resolution_or_four_of_one() -> None:
    assert chosen_levels([(56, 56), (28, 28), (28, 28), (14, 14)], 224) == [0, 2, 3]
    assert chosen_levels([(112, 112), (56, 56), (7, 7)], 224) == [1, 2]
    assert chosen_levels([(14, 14)] * 24, 224) == [5, 11, 17, 23]
    assert chosen_levels([(16, 16)] * 2, 32) == [0, 1]


@pytest.mark.parametrize("kind", ["bias", "lora", "norm", "prompt", "side", "full", "auto"])
def test_adapters_go_to_the_backbone_and_the_head_is_trained(kind: str) -> None:
    model = Segmenter(load_model("s2a_tiny", None, 5), 3, 32)
    images = torch.randn(2, 3, 32, 32)
    before = model(images)
    model = add_adapters(model, AdapterSpec.parse(kind), 32)
    assert torch.allclose(model(images), before, atol=1e-5)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = head_parameters(model)
    assert head == {name for name, _ in model.named_parameters() if name.startswith("head.")}
    assert head < trained
    assert not any("s2a_" in name for name in head)


def test_pretrained_weights_are_those_of_the_classifier() -> None:
    classifier = load_model("s2a_tiny")
    weights = Segmenter(load_model("s2a_tiny", None, 5), 3, 32).backbone.state_dict()
    known = classifier.state_dict()
    assert all(torch.equal(value, known[name]) for name, value in weights.items())
    assert not any(name.startswith("head") for name in weights)


def test_images_reach_it_whole() -> None:
    config = data_config(Segmenter(load_model("s2a_tiny", "none"), 3, 32))
    assert (config["crop_mode"], config["crop_pct"], config["image_size"]) == ("squash", 1.0, 32)
    assert "crop_mode" not in data_config(load_model("s2a_tiny", "none"))


def test_a_file_of_its_weights_is_loaded_again(tmp_path: Path) -> None:
    model = Segmenter(load_model("s2a_tiny", "none", image_size=64), 3, 64).eval()
    save_tensors(model.state_dict(), tmp_path / "model.safetensors", {"format": "pt"})
    loaded = load_segmenter(tmp_path / "model.safetensors", "s2a_tiny", 3, 64)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(images), model(images))


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Linear gives no maps of an image"):
        Segmenter(nn.Linear(3, 3), 3, 32)


def test_masks_count_where_a_plan_is_made_and_where_it_is_verified() -> None:
    """Four bytes a pixel more of targets are so many bytes more of the peak."""
    model = add_adapters(Segmenter(load_model("s2a_tiny", "none"), 3, 32), AdapterSpec.parse("head"), 32)
    images, masks = torch.randn(4, 3, 32, 32), torch.zeros(4, 32, 32, dtype=torch.uint8)
    wide = torch.zeros(4, 32, 32, 5, dtype=torch.uint8)  # of which the loss reads one in five

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return segmentation.loss(outputs, targets[..., 0] if targets.dim() == 4 else targets)

    profiles = [
        profile(model, example=(images, targets), loss=loss, sensitivity_s=0, has_baselines=False)
        for targets in (masks, wide)
    ]
    assert profiles[1].input_bytes_per_sample - profiles[0].input_bytes_per_sample == 4 * 32 * 32
    made = plan(profiles[0], 64 * 2**20, batch_size=4)
    peaks = [measured_peak(model, made, *samples_of_pair((images, targets), loss)) for targets in (masks, wide)]
    assert peaks[1] - peaks[0] == 4 * 32 * 32 * made.micro_batch
