"""A timm backbone with a light head that gives the logits of every pixel.

    y = sum over levels l of upsample(W_l norm(x_l)),    logits = upsample(V gelu(y))

x_l: the backbone's maps, one of each resolution from a quarter of the image down; of a network of one resolution, as
plain ViTs are, four of its depth. W_l, V: 1 x 1 convolutions; norm: over a sample. Light heads of this kind: FPN
(Kirillov et al. 2019, "Panoptic feature pyramid networks"), SegFormer (Xie et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from s2a_core.errors import InvalidInput
from s2a_core.models import load_model
from s2a_core.sides import ImageSize, sides

HEAD_WIDTH = 128
LEAST_STRIDE = 4  # finer maps cost most of the memory and show little but edges
LEVELS_OF_PLAIN = 4


class MapHead(nn.Module):
    """Maps [B, C_l, h_l, w_l] of several levels to logits [B, classes, h, w] at the size of the largest map."""

    def __init__(self, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for width in widths)
        self.projections = nn.ModuleList(nn.Conv2d(width, HEAD_WIDTH, 1) for width in widths)
        self.activation = nn.GELU()
        self.classifier = nn.Conv2d(HEAD_WIDTH, num_classes, 1)
        nn.init.trunc_normal_(self.classifier.weight, std=0.01)  # first logits near zero
        nn.init.zeros_(self.classifier.bias)  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits of the levels' maps. The list is emptied: each map is given back as soon as it was projected."""
        finest = max((tuple(level.shape[-2:]) for level in maps), key=lambda size: size[0] * size[1])
        total: Tensor | None = None
        for norm, projection in zip(reversed(self.norms), reversed(self.projections), strict=True):
            projected = resized(projection(norm(maps.pop())), finest)
            total = projected if total is None else total + projected
        logits: Tensor = self.classifier(self.activation(total))
        return logits


class Segmenter(nn.Module):
    """Images [B, 3, H, W] to logits [B, classes, H, W]. backbone: a classifier of timm, which loses its classifier;
    image_size: pixels a side, or `HEIGHTxWIDTH`, of the images it was made for.

    Raises InvalidInput for a backbone that gives no maps.
    """

    gives_maps = True

    def __init__(self, backbone: nn.Module, num_classes: int, image_size: ImageSize) -> None:
        super().__init__()
        shapes = _map_shapes(backbone, image_size)
        levels = chosen_levels([shape[-2:] for shape in shapes], sides(image_size)[-1])
        prune: Any = backbone.prune_intermediate_layers
        self.levels = list(prune(levels, prune_norm=True, prune_head=True))
        self.backbone, self.num_classes = backbone, num_classes
        self.head = MapHead([shapes[level][1] for level in levels], num_classes)

    @property
    def pretrained_cfg(self) -> Any:
        """The backbone's: how images reach it."""
        return self.backbone.pretrained_cfg

    def get_classifier(self) -> nn.Module:
        """What is trained whatever the adapter is."""
        return self.head

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Of the backbone."""
        self.backbone.set_grad_checkpointing(enable)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of every pixel."""
        return resized(self.head(_maps(self.backbone, images, self.levels)), images.shape[-2:])


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps [B, C, h, w] interpolated to [B, C, *size]."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def chosen_levels(sizes: Sequence[Sequence[int]], width: int) -> list[int]:
    """The last level of each resolution from a quarter of the image down; of one resolution four over the depth.

    sizes: (h, w) of every level that the backbone gives; width: of the image.
    """
    last = {tuple(size): index for index, size in enumerate(sizes)}
    if len(last) == 1:
        count = min(LEVELS_OF_PLAIN, len(sizes))
        return [(step + 1) * len(sizes) // count - 1 for step in range(count)]
    coarse = [index for size, index in last.items() if LEAST_STRIDE * size[-1] <= width]
    return sorted(coarse or last.values())


def load_segmenter(path: str | Path, architecture: str, num_classes: int, image_size: ImageSize) -> nn.Module:
    """The network of a file that `s2a export` wrote for segmentation, in evaluation mode.

    path: .safetensors, .pt or .pth; the other arguments are in the file's metadata and in what `s2a export` says.
    """
    model = Segmenter(load_model(architecture, "none", num_classes, image_size), num_classes, image_size)
    is_safe = Path(path).suffix == ".safetensors"
    model.load_state_dict(load_file(str(path)) if is_safe else torch.load(path, weights_only=True))
    return model.eval()


def _maps(backbone: nn.Module, images: Tensor, levels: Sequence[int] | None) -> list[Tensor]:
    """Maps [B, C, h, w] of the levels, of all where None."""
    give: Any = backbone.forward_intermediates
    maps: list[Tensor] = give(
        images, indices=levels, norm=False, stop_early=True, output_fmt="NCHW", intermediates_only=True
    )
    return maps


def _map_shapes(backbone: nn.Module, size: ImageSize) -> list[tuple[int, ...]]:
    """Shapes [1, C, h, w] of all maps, from a pass without values."""
    name = type(backbone).__name__
    if not hasattr(backbone, "forward_intermediates") or not hasattr(backbone, "prune_intermediate_layers"):
        raise InvalidInput(
            f"{name} gives no maps of an image, which segmentation needs: choose another model, such as a ViT, Swin, "
            "ConvNeXt or ResNet"
        )
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            maps = _maps(backbone, torch.zeros(1, 3, *sides(size)), None)
            return [tuple(level.shape) for level in maps]
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InvalidInput(
            f"{name} gives no maps of an image, which segmentation needs ({reason}): choose another model"
        ) from error
