"""Finding the MLPs of any model: a layer that widens, and the one after it that narrows back to the same shape."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from s2a_core.adapters.blocks import repeated_blocks, run_hooked
from s2a_core.batches import Samples

REACH = 4  # layers between the two at most: gates, squeeze and excite


class Span(NamedTuple):
    """Layers from `first` to `last`, between tensors of one shape. is_map: [B, C, H, W], else [..., C].

    owner: the innermost module that holds both.
    """

    owner: nn.Module
    first: nn.Module
    last: nn.Module
    channels: int
    is_map: bool


class _Call(NamedTuple):
    name: str
    layer: nn.Module
    block: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    is_map: bool

    @property
    def channels(self) -> tuple[int, int]:
        """(inputs, outputs) of the layer."""
        axis = 1 if self.is_map else -1
        return self.in_shape[axis], self.out_shape[axis]


def mlps(model: nn.Module, inputs: Tensor | Samples) -> list[Span]:
    """The MLPs inside the repeated blocks, in the order they run; of gated ones the layer nearest to the end is first.

    inputs: of one sample. Raises InvalidInput for inputs that the model refuses.
    """
    calls, modules = _calls(model, inputs), dict(model.named_modules())
    spans: dict[nn.Module, Span] = {}
    for i, wide in enumerate(calls):
        for narrow in calls[i + 1 : i + 1 + REACH]:
            if _is_mlp(wide, narrow):
                owner = modules[_common_parent(wide.name, narrow.name)]
                spans[narrow.layer] = Span(owner, wide.layer, narrow.layer, wide.channels[0], wide.is_map)
                break
    return list(spans.values())


def _is_mlp(wide: _Call, narrow: _Call) -> bool:
    (inputs, hidden), (narrow_inputs, _) = wide.channels, narrow.channels
    is_pair = hidden > inputs and narrow_inputs in (hidden, hidden // 2)  # half: gated, from one wide layer
    return is_pair and wide.block == narrow.block and wide.in_shape == narrow.out_shape and wide.is_map == narrow.is_map


def _calls(model: nn.Module, inputs: Tensor | Samples) -> list[_Call]:
    """Calls of linear layers and 1 x 1 convolutions inside the repeated blocks; none of layers called twice."""
    names = {module: name for name, module in model.named_modules()}
    layers = {
        module: block for block, owner in repeated_blocks(model) for name, module in owner.named_modules()
        if "s2a_" not in name and (isinstance(module, nn.Linear) or _is_pointwise(module))
    }  # fmt: skip
    calls: list[_Call] = []

    def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        is_map = isinstance(layer, nn.Conv2d)
        calls.append(_Call(names[layer], layer, layers[layer], tuple(args[0].shape), tuple(output.shape), is_map))

    run_hooked(model, layers, record, inputs)
    return [call for call in calls if sum(other.layer is call.layer for other in calls) == 1]


def _common_parent(name: str, other: str) -> str:
    parts = [a for a, b in zip(name.split(".")[:-1], other.split(".")[:-1], strict=False) if a == b]
    return ".".join(parts)


def _is_pointwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
