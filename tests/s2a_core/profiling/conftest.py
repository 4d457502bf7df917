"""One small model and its profile, made once for all tests here."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from s2a_core.profiling import Profile, profile


def small_vit() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=48, num_heads=3, num_classes=5
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias") or name.startswith("head"))
    return model


@pytest.fixture
def vit() -> nn.Module:
    return small_vit()


@pytest.fixture(scope="session")
def vit_profile() -> Profile:
    return profile(small_vit(), 32, 4, name="small", adapter="bias", refine_s=3.0)
