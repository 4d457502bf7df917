"""Blocks are found in transformers and convolutional networks."""

import pytest
import timm
import torch

from s2a_core.adapters.blocks import places, repeated_blocks
from s2a_core.errors import InvalidInput
from s2a_core.models import load_model


def test_blocks_of_a_transformer_and_their_inputs() -> None:
    model = load_model("s2a_tiny", num_classes=10)
    blocks = repeated_blocks(model)
    assert [name for name, _ in blocks] == [f"blocks.{i}" for i in range(6)]
    found = places(model, torch.zeros(1, 3, 32, 32))
    assert [(p.in_shape, p.out_shape, p.channels_first) for p in found] == [((65, 80), (65, 80), False)] * 6


def test_blocks_of_a_convolutional_network() -> None:
    names = [name for name, _ in repeated_blocks(timm.create_model("resnet18"))]
    assert "layer1.0" in names


@pytest.mark.parametrize(("name", "block"), [("regnety_002", "s1.b1"), ("inception_v3", "Mixed_5b")])
def test_blocks_that_are_plain_attributes_of_a_stage_are_found(name: str, block: str) -> None:
    model = timm.create_model(name)
    assert block in [found for found, _ in repeated_blocks(model)]
    assert len(places(model, torch.zeros(1, 3, 96, 96))) > 5


def test_maps_are_told_apart_by_where_their_channels_are() -> None:
    swin = places(
        timm.create_model("swin_tiny_patch4_window7_224", img_size=56, window_size=7), torch.zeros(1, 3, 56, 56)
    )
    assert {p.channels_first for p in swin} == {False}
    assert swin[0].in_shape == (14, 14, 96)
    resnet = places(timm.create_model("resnet18"), torch.zeros(1, 3, 64, 64))
    assert {p.channels_first for p in resnet} == {True}
    assert [(p.in_shape, p.out_shape) for p in resnet][2] == ((64, 16, 16), (128, 8, 8))


def test_an_image_size_that_the_model_refuses_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match=r"refuses inputs of shape \[1, 3, 100, 100\]"):
        places(timm.create_model("levit_128s"), torch.zeros(1, 3, 100, 100))
