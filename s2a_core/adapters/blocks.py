"""Finding the repeated blocks of any timm backbone, and the shapes of what enters them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


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


@torch.no_grad()
def input_shapes(model: nn.Module, modules: list[nn.Module], image_size: int) -> list[tuple[int, ...] | None]:
    """Shape without the batch of the first tensor that enters each module; None where it is never called."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, args: tuple[object, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            shapes[module] = tuple(args[0].shape[1:])

    hooks = [module.register_forward_pre_hook(note) for module in modules]
    was_training = model.training
    parameter = next(model.parameters())
    try:
        model.eval()(torch.zeros(1, 3, image_size, image_size, device=parameter.device, dtype=parameter.dtype))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return [shapes.get(module) for module in modules]


def _is_block(module: nn.Module) -> bool:
    """A block has two or more weighted layers and is not a list itself."""
    if isinstance(module, (nn.ModuleList, nn.Sequential)):
        return False
    return sum(1 for _ in _weighted(module)) >= 2


def _weighted(module: nn.Module) -> Iterator[nn.Module]:
    return (m for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
