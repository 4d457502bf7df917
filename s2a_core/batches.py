"""Samples of any structure: tensors, tuples, lists and dicts of them, counted, taken, moved and given to a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2a_core.errors import InvalidInput

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Samples:
    """What a model takes (a tensor, a tuple of arguments or a dict of named ones), or what its loss compares with.

    num: samples. Every tensor whose first size is `num` and every list of that length is split along it; numbers, None,
    strings and tensors without a size are passed whole. loss: with targets, the mean over samples of what the model
    returned and these.
    Raises InvalidInput where the number of samples is unclear.
    """

    value: Any
    num: int
    loss: Loss | None = None

    def __post_init__(self) -> None:
        for name, size in _sizes(self.value):
            if size != self.num:
                raise InvalidInput(
                    f"the sample dimension of the example is unclear: {name or 'it'} has {size} entries where others "
                    f"have {self.num} samples; give tensors and lists with one entry a sample, and others as a model's "
                    "attributes or without a first dimension",
                    details={"sizes": [[name, size] for name, size in _sizes(self.value)]},
                )

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, rows: slice) -> Samples:
        """Some of the samples."""
        return replace(self, value=_taken(self.value, rows), num=len(range(self.num)[rows]))

    @property
    def device(self) -> torch.device:
        """Of its first tensor; the CPU where it has none."""
        return next((t.device for t in tensors_in(self.value)), torch.device("cpu"))

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(t.untyped_storage().nbytes() for t in tensors_in(self.value))

    def to(self, device: torch.device | str) -> Samples:
        """The same on a device."""
        return replace(self, value=_mapped(self.value, lambda t: t.to(device)))


def samples_of(value: Any) -> Samples:
    """Inputs as samples: as many as their first tensor or list has entries. Raises InvalidInput where there is none."""
    num = next((size for _, size in _sizes(value)), 0)
    if not num:
        raise InvalidInput("the example has no samples: its inputs hold no tensor with a first dimension, and no list")
    return Samples(value, num)


def samples_of_pair(example: tuple[Any, Any], loss: Loss | None) -> tuple[Samples, Samples]:
    """An example of profile() or verify(): (inputs, targets), the targets with their loss."""
    if not isinstance(example, tuple) or len(example) != 2:
        raise InvalidInput(
            "the example must be a pair: (inputs, targets); the targets are None where the loss needs none"
        )
    inputs = samples_of(example[0])
    return inputs, Samples(example[1], len(inputs), loss)


def forward(model: nn.Module, inputs: Tensor | Samples) -> Any:
    """model(x), model(*arguments) or model(**named)."""
    value = inputs.value if isinstance(inputs, Samples) else inputs
    if isinstance(value, Mapping):
        return model(**value)
    return model(*value) if isinstance(value, tuple) else model(value)


def loss_of(output: Any, targets: Tensor | Samples) -> Tensor:
    """Cross-entropy with labels [B], or the loss that came with the targets.

    Raises InvalidInput where that is not one finite number.
    """
    if not isinstance(targets, Samples) or targets.loss is None:
        labels = targets.value if isinstance(targets, Samples) else targets
        return functional.cross_entropy(output.float(), labels)
    loss = targets.loss(output, targets.value)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InvalidInput(f"the loss must be one number, the mean over samples, not {shape}: take its mean")
    if loss.device.type != "meta" and not math.isfinite(loss.item()):
        raise InvalidInput(f"the loss of the example is {loss.item()}: check its inputs, targets and the weights")
    return loss.reshape(())


def repeated(samples: Any, num: int) -> Any:
    """`num` of some samples, or of a tensor's rows, in memory of their own: again and again where they are fewer."""
    whole = samples if isinstance(samples, Samples) else Samples(samples, len(samples))
    parts = [whole.value] * -(-num // len(whole))
    value = _mapped(_taken(_joined(parts), slice(num)), lambda tensor: tensor.clone())
    return replace(whole, value=value, num=num) if isinstance(samples, Samples) else value


def sample_bytes(inputs: Tensor | Samples) -> int:
    """Bytes of one sample, as the model is given it."""
    return inputs.nbytes // len(inputs) if isinstance(inputs, Samples) else inputs[0].numel() * 4


def target_bytes(targets: Tensor | Samples) -> int:
    """Bytes of what the loss compares one sample with; nothing to speak of where that is its class."""
    return targets.nbytes // len(targets) if isinstance(targets, Samples) else 0


def shapes(inputs: Tensor | Samples) -> str:
    """The shapes of what a model is given, for people."""
    return ", ".join(str(list(t.shape)) for t in tensors_in(inputs.value if isinstance(inputs, Samples) else inputs))


def _sizes(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """(where, number of entries) of everything that is split."""
    if isinstance(value, Tensor):
        if value.dim():
            yield name, value.shape[0]
    elif isinstance(value, list):
        yield name, len(value)
    elif isinstance(value, (tuple, Mapping)):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _sizes(part, f"{name}.{key}" if name else str(key))


def _taken(value: Any, rows: slice) -> Any:
    if isinstance(value, Tensor):
        return value[rows] if value.dim() else value
    if isinstance(value, list):
        return value[rows]
    if isinstance(value, Mapping):
        return {key: _taken(part, rows) for key, part in value.items()}
    return tuple(_taken(part, rows) for part in value) if isinstance(value, tuple) else value


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(part, change) for key, part in value.items()}
    return type(value)(_mapped(part, change) for part in value) if isinstance(value, (list, tuple)) else value


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts) if first.dim() else first
    if isinstance(first, list):
        return [item for part in parts for item in part]
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts]) for key in first}
    return tuple(_joined(list(items)) for items in zip(*parts, strict=True)) if isinstance(first, tuple) else first


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in a nest of tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(part)
