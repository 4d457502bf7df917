"""Networks of plain torch and of torchvision with what they take, and the losses of all of `benchmarks.modules`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from s2a_core.batches import Loss

SAMPLES, CLASSES = 4, 5


@dataclass(frozen=True)
class Made:
    """A model with what it takes. targets: None where the model computes its own loss of inputs."""

    model: nn.Module
    inputs: Any
    targets: Any
    loss: Loss


def photos(size: int, width: int | None = None) -> Tensor:
    return torch.randn(SAMPLES, 3, size, width or size)


def labels() -> Tensor:
    return torch.randint(CLASSES, (SAMPLES,))


def logits_loss(output: Any, labels: Tensor) -> Tensor:
    """Cross-entropy of classes or, with labels [B, H, W], of pixels, at the labels' size."""
    logits = output if isinstance(output, Tensor) else output["out" if "out" in output else "logits"]
    if labels.dim() == 3:
        logits = functional.interpolate(logits, labels.shape[-2:], mode="bilinear")
    return functional.cross_entropy(logits.float(), labels)


def own_loss(output: Any, targets: None) -> Tensor:
    """What the model computed itself."""
    return output.loss


def sum_of_losses(output: Any, targets: None) -> Tensor:
    """torchvision's detectors return a dict of losses while they train."""
    return sum(output.values(), torch.zeros(()))


def energy(output: Any, targets: Tensor) -> Tensor:
    """Distance of an encoder's last features to given ones."""
    features = output if isinstance(output, Tensor) else output.last_hidden_state
    return functional.mse_loss(features.float(), targets)


def mlp() -> Made:
    blocks = [nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(3)]
    return Made(
        nn.Sequential(*blocks, nn.Linear(64, 1)), torch.randn(SAMPLES, 49, 64), torch.randn(SAMPLES, 49, 1),
        functional.mse_loss,
    )  # fmt: skip


def _convolutions(channels: int, to: int) -> nn.Sequential:
    layers = [nn.Conv2d(channels, to, 3, padding=1), nn.BatchNorm2d(to), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(to, to, 3, padding=1), nn.BatchNorm2d(to), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Three levels of maps, the way down's joined to the way up's."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList([_convolutions(3, width), _convolutions(width, 2 * width)])
        self.middle = _convolutions(2 * width, 4 * width)
        self.up = nn.ModuleList([_convolutions(6 * width, 2 * width), _convolutions(3 * width, width)])
        self.head = nn.Conv2d(width, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes, H, W] of images [B, 3, H, W]."""
        maps = []
        for block in self.down:
            x = block(x)
            maps.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.middle(x)
        for block in self.up:
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), maps.pop()], 1))
        return self.head(x)


def unet() -> Made:
    return Made(UNet(), photos(64), torch.randint(CLASSES, (SAMPLES, 64, 64)), logits_loss)


class TwoInputs(nn.Module):
    """An image and a row of numbers beside it; forward takes a tuple of both, and returns a list."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(_convolutions(3, 32), nn.MaxPool2d(2), _convolutions(32, 64))
        self.numbers = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64))
        self.head = nn.Linear(128, 2)

    def forward(self, image: Tensor, numbers: Tensor) -> list[Tensor]:
        """Two numbers [B] each."""
        joined = torch.cat([self.maps(image).mean((2, 3)), self.numbers(numbers)], 1)
        return list(self.head(joined).unbind(1))


def two_inputs() -> Made:
    def loss(output: list[Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
        first, second = targets
        return functional.mse_loss(output[0], first) + functional.l1_loss(output[1], second)

    return Made(TwoInputs(), (photos(32), torch.randn(SAMPLES, 6)), (torch.randn(SAMPLES), torch.randn(SAMPLES)), loss)


def classifier(name: str, size: int, **options: Any) -> Callable[[], Made]:
    def make() -> Made:
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)
        return Made(model, photos(size), labels(), logits_loss)

    return make


def dense(name: str) -> Callable[[], Made]:
    def make() -> Made:
        model: nn.Module = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=False
        )
        return Made(model, photos(64, 96), torch.randint(CLASSES, (SAMPLES, 64, 96)), logits_loss)

    return make


def _boxes(number: int, size: int) -> Tensor:
    """[number, 4] corners inside an image."""
    start = torch.rand(number, 2) * size / 2
    return torch.cat([start, start + size / 4 + torch.rand(number, 2) * size / 4], 1)


def faster_rcnn() -> Made:
    model: nn.Module = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, min_size=96, max_size=128
    )
    return _detector(model, 96)


def _detector(model: nn.Module, size: int) -> Made:
    images = list(photos(size).unbind())
    targets = [{"boxes": _boxes(2, size), "labels": torch.randint(1, CLASSES, (2,))} for _ in images]
    return Made(model, (images, targets), None, sum_of_losses)


def retina_net() -> Made:
    model: nn.Module = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, min_size=96, max_size=128
    )
    return _detector(model, 96)


def ssd_lite() -> Made:
    model: nn.Module = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=CLASSES
    )
    return _detector(model, 96)


def video() -> Made:
    """Eight frames of 32 x 32."""
    model: nn.Module = torchvision.models.video.r3d_18(weights=None, num_classes=CLASSES)
    return Made(model, torch.randn(SAMPLES, 3, 8, 32, 32), labels(), logits_loss)
