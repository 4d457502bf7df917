"""Small models for compression tests: a ViT, a CNN and a plain module that timm does not know."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn


def small_vit(depth: int = 2) -> nn.Module:
    """A ViT of 64 px, 48 channels, with only its biases trained."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=depth, num_heads=3, num_classes=5, pretrained=False
    )
    return bias_only(model)


def small_cnn() -> nn.Module:
    """A ResNet with BatchNorm in evaluation mode, only its biases trained."""
    torch.manual_seed(0)
    return bias_only(timm.create_model("resnet18", num_classes=5, pretrained=False).eval())


def bias_only(model: nn.Module) -> nn.Module:
    """Trains the biases and nothing else."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return model


class PlainNet(nn.Module):
    """Not from timm: functional calls, an activation used twice, an in-place one, a norm of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(32, 64)
        self.outer = nn.Linear(64, 32)
        self.norm = nn.LayerNorm(32)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, N, 32] -> [B, 32]."""
        for _ in range(2):
            x = x + self.outer(self.act(self.inner(self.norm(x))))
        return nn.functional.relu(x, inplace=True).mean(1)


def gradients(model: nn.Module, output: Tensor) -> Tensor:
    """All trainable gradients of output.square().mean(), flat."""
    model.zero_grad(set_to_none=True)
    output.float().square().mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
