"""What a profile is true for, as one short hash."""

from __future__ import annotations

import hashlib
import platform

import torch
from torch import nn


def fingerprint(model: nn.Module, name: str, adapter: str, image_size: int, precision: str, device: str) -> str:
    """Hash of name, parameters (shapes, first values, trained or not), adapter, size, precision, device, versions."""
    digest = hashlib.sha256()
    for part in (name, adapter, image_size, precision, device_name(device), torch.__version__, torch.version.cuda):
        digest.update(f"{part}\0".encode())
    for key, parameter in model.named_parameters():
        corner = parameter.detach().flatten()[:64].float().sum().item()
        digest.update(f"{key} {tuple(parameter.shape)} {parameter.requires_grad} {corner:.4g}\0".encode())
    return digest.hexdigest()[:16]


def device_name(device: str) -> str:
    """The device a profile's times and peaks belong to."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)} {torch.cuda.get_device_capability(device)}"
    return f"cpu {platform.machine()}"
