"""Finding the repeated blocks of any timm backbone, and the shapes of what enters and leaves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s2a_core.errors import InvalidInput


def repeated_blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """(name, module) of the members of the model's ModuleLists and Sequentials whose members are of one large class.

    Only the innermost such lists count: `layers.0.blocks.0`, not `layers.0`.
    """
    candidates = [
        (f"{name}.{child_name}" if name else child_name, child)
        for name, module in model.named_modules()
        if isinstance(module, (nn.ModuleList, nn.Sequential))
        for child_name, child in module.named_children()
        if _is_block(child)
    ]
    names = [name for name, _ in candidates]
    return [(n, m) for n, m in candidates if not any(other.startswith(n + ".") for other in names)]


@dataclass(frozen=True)
class Place:
    """A block that is called with one tensor and returns one. Shapes are without the batch.

    channels_first: maps [C, H, W]; otherwise tokens [N, C] or maps [H, W, C].
    """

    name: str
    block: nn.Module
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    channels_first: bool


@torch.no_grad()
def places(model: nn.Module, image_size: int) -> list[Place]:
    """The repeated blocks in the order they run, those only that take and give tokens or maps of samples.

    Raises InvalidInput for an image size the model refuses.
    """
    blocks = {module: name for name, module in repeated_blocks(model)}
    found: list[Place] = []

    def note(module: nn.Module, args: tuple[object, ...], output: object) -> None:
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not isinstance(output, Tensor) or x.dim() not in (3, 4):
            return
        if x.shape[0] != 1 or output.shape[0] != 1 or x.dim() != output.dim() or any(p.block is module for p in found):
            return
        in_shape, out_shape = tuple(x.shape[1:]), tuple(output.shape[1:])
        channels_first = x.dim() == 4 and not _is_channels_last(module, in_shape)
        if channels_first or in_shape == out_shape:
            found.append(Place(blocks[module], module, in_shape, out_shape, channels_first))

    hooks = [module.register_forward_hook(note) for module in blocks]
    was_training = model.training
    parameter = next(model.parameters())
    try:
        model.eval()(torch.zeros(1, 3, image_size, image_size, device=parameter.device, dtype=parameter.dtype))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InvalidInput(f"the model refuses images of {image_size} pixels: {error}") from error
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return found


def _is_channels_last(block: nn.Module, shape: tuple[int, ...]) -> bool:
    """Maps of shape [H, W, C], as in Swin: the block's first LayerNorm is as wide as the last axis."""
    widths = [m.normalized_shape[-1] for m in block.modules() if type(m) is nn.LayerNorm or isinstance(m, nn.LayerNorm)]
    return bool(widths) and widths[0] == shape[-1] and shape[0] == shape[1] and shape[0] != widths[0]


def _is_block(module: nn.Module) -> bool:
    """A block has two or more weighted layers and is not a list itself."""
    if isinstance(module, (nn.ModuleList, nn.Sequential)):
        return False
    return sum(1 for _ in _weighted(module)) >= 2


def _weighted(module: nn.Module) -> Iterator[nn.Module]:
    return (m for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
