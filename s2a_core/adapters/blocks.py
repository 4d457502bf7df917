"""Finding the repeated blocks of any timm backbone, and the shapes of what enters and leaves them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s2a_core.batches import Samples, forward, shapes
from s2a_core.errors import InvalidInput

LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def repeated_blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """(name, module) of the members of the model's lists that have two or more weighted layers.

    Lists are ModuleLists, ModuleDicts and Sequentials. Only the innermost such lists count: `layers.0.blocks.0`, not
    `layers.0`. Where there are fewer than two, other modules with several such children of one class are lists as well,
    and all of their class: RegNet's stages, DLA's trees, Inception.
    """
    blocks = _innermost([triple for triple in _children(model) if isinstance(triple[0], LISTS)])
    if len(blocks) > 1:
        return blocks
    number = Counter((owner, type(block)) for owner, _, block in _children(model))
    alike = {(type(owner), kind) for (owner, kind), count in number.items() if count > 1}
    return _innermost([triple for triple in _children(model) if (type(triple[0]), type(triple[2])) in alike])


def _children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(owner, name, block) of every block that is a child of something."""
    for name, owner in model.named_modules():
        for child_name, child in owner.named_children():
            if _is_block(child):
                yield owner, f"{name}.{child_name}" if name else child_name, child


def _innermost(triples: list[tuple[nn.Module, str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Without the owners, and without blocks that have others of these inside."""
    names = [name for _, name, _ in triples]
    return [(name, block) for _, name, block in triples if not any(other.startswith(name + ".") for other in names)]


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


def places(model: nn.Module, inputs: Tensor | Samples) -> list[Place]:
    """The repeated blocks in the order they run, those only that take and give tokens or maps of samples.

    inputs: of one sample. Raises InvalidInput for inputs that the model refuses.
    """
    blocks = {module: name for name, module in repeated_blocks(model)}
    places: list[Place] = []

    def note(module: nn.Module, args: tuple[object, ...], output: object) -> None:
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not isinstance(output, Tensor) or x.dim() not in (3, 4):
            return
        if x.shape[0] != 1 or output.shape[0] != 1 or x.dim() != output.dim() or any(p.block is module for p in places):
            return
        in_shape, out_shape = tuple(x.shape[1:]), tuple(output.shape[1:])
        channels_first = x.dim() == 4 and not _is_channels_last(module, in_shape)
        if channels_first or in_shape == out_shape:
            places.append(Place(blocks[module], module, in_shape, out_shape, channels_first))

    run_hooked(model, blocks, note, inputs)
    return places


def called(model: nn.Module, modules: Iterable[nn.Module], inputs: Tensor | Samples) -> set[nn.Module]:
    """The modules that a forward pass calls; of others the model reads the weights alone, as BEiT does of its qkv.

    inputs: of one sample. Raises InvalidInput for inputs that the model refuses.
    """
    called: set[nn.Module] = set()
    run_hooked(model, modules, lambda module, args, output: called.add(module), inputs)
    return called


@torch.no_grad()
def run_hooked(
    model: nn.Module,
    modules: Iterable[nn.Module],
    note: Callable[[nn.Module, Any, Any], None],
    inputs: Tensor | Samples,
) -> None:
    """One sample through the model in evaluation mode; `note` is called after each of the modules."""
    hooks = [module.register_forward_hook(note) for module in modules]
    was_training = model.training
    try:
        forward(model.eval(), inputs)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise InvalidInput(f"the model refuses inputs of shape {shapes(inputs)}: {error}") from error
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()


def _is_channels_last(block: nn.Module, shape: tuple[int, ...]) -> bool:
    """Maps of shape [H, W, C], as in Swin: the block's first LayerNorm is as wide as the last axis."""
    widths = [m.normalized_shape[-1] for m in block.modules() if type(m) is nn.LayerNorm or isinstance(m, nn.LayerNorm)]
    return bool(widths) and widths[0] == shape[-1] and shape[0] == shape[1] and shape[0] != widths[0]


def _is_block(module: nn.Module) -> bool:
    """A block has two or more weighted layers and is not a list itself."""
    if isinstance(module, LISTS):
        return False
    return sum(1 for _ in _weighted(module)) >= 2


def _weighted(module: nn.Module) -> Iterator[nn.Module]:
    return (m for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
