"""Blocks are found in transformers and convolutional networks."""

import timm

from s2a_core.adapters.blocks import input_shapes, repeated_blocks
from s2a_core.models import load_model


def test_blocks_of_a_transformer_and_their_inputs() -> None:
    model = load_model("s2a_tiny", num_classes=10)
    blocks = repeated_blocks(model)
    assert [name for name, _ in blocks] == [f"blocks.{i}" for i in range(6)]
    assert input_shapes(model, [block for _, block in blocks], 32) == [(65, 80)] * 6


def test_blocks_of_a_convolutional_network() -> None:
    names = [name for name, _ in repeated_blocks(timm.create_model("resnet18"))]
    assert "layer1.0" in names
