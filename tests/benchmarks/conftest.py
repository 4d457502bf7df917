"""A ViT of two blocks that every contestant can run in a second."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=64, num_heads=2, num_classes=5
    )
    return model
