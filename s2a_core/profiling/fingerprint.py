"""What a profile is true for, as one short hash."""

from __future__ import annotations

import hashlib
import platform

import torch
from torch import nn

from s2a_core.kernels import backend_name, prefer_native
from s2a_core.operators.narrow import NarrowWeight
from s2a_core.sides import ImageSize
from s2a_core.tasks import CLASSIFICATION


def fingerprint(
    model: nn.Module,
    name: str,
    adapter: str,
    image_size: ImageSize,
    precision: str,
    device: str,
    has_weights: bool = True,
) -> str:
    """Hash of name, parameters (shapes, trained or not, values of frozen ones), adapter, size, precision, device,
    versions, the allocator and which kernels run. has_weights: False leaves values out, where they are random.
    """
    digest = hashlib.sha256()
    allocator = torch.cuda.get_allocator_backend() if device.startswith("cuda") else "cpu"
    prefer_native(torch.device(device).type)  # what steps run: native kernels, or the reference where none can be built
    versions = (torch.__version__, torch.version.cuda, allocator, backend_name(device))
    for part in (name, adapter, image_size, precision, device_name(device), *versions):
        digest.update(f"{part}\0".encode())
    for key, parameter in model.named_parameters():
        digest.update(f"{key} {tuple(parameter.shape)} {parameter.requires_grad}\0".encode())
        if isinstance(parameter, NarrowWeight):
            digest.update(f"{parameter.codes.format} {parameter.codes.group}\0".encode())
        if has_weights and isinstance(parameter, NarrowWeight):
            payload = parameter.payload
            digest.update(payload[:: max(payload.numel() // 64, 1)].cpu().numpy().tobytes())
        elif has_weights and not parameter.requires_grad:
            # bf16, so that frozen weights that were narrowed since are still the same ones
            sample = parameter.detach().flatten()[:: max(parameter.numel() // 64, 1)][:64].to(torch.bfloat16)
            digest.update(sample.float().cpu().numpy().tobytes())
    for key, module in model.named_modules():
        if probability := getattr(module, "drop_prob", 0.0):
            digest.update(f"{key} drops {probability:.6f}\0".encode())
    return digest.hexdigest()[:16]


def marked_name(name: str, task: str) -> str:
    """The name that a fingerprint is of: the model's, with its task where that is not classification."""
    return name if task == CLASSIFICATION.name else f"{name} for {task}"


def device_name(device: str) -> str:
    """The device a profile's times and peaks belong to."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)} {torch.cuda.get_device_capability(device)}"
    return f"cpu {platform.machine()}"
