"""The state of a device's generator, as it was when a chunk first ran. On CUDA it is read and set without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

GeneratorState = Tensor | tuple[int, int]  # on CUDA: seed and offset


def generator_state(x: Tensor) -> GeneratorState:
    """Of the default generator of x's device."""
    if not x.is_cuda:
        return torch.get_rng_state()
    generator = _of_device(x)
    return generator.initial_seed(), generator.get_offset()


def has_drawn_since(state: GeneratorState | None, x: Tensor) -> bool:
    """Whether a random number was drawn on x's device since it had this state."""
    if state is None:
        return False
    current = generator_state(x)
    if isinstance(state, Tensor) and isinstance(current, Tensor):
        return not torch.equal(state, current)
    return state != current


@contextmanager
def replayed(state: GeneratorState | None, like: Tensor) -> Iterator[None]:
    """The generator in this state, and as it was before afterwards."""
    if state is None:
        yield
        return
    before = generator_state(like)
    _set(state, like)
    try:
        yield
    finally:
        _set(before, like)


def _set(state: GeneratorState, like: Tensor) -> None:
    if isinstance(state, Tensor):
        torch.set_rng_state(state)
        return
    seed, offset = state
    generator = _of_device(like)
    generator.manual_seed(seed)
    generator.set_offset(offset)


def _of_device(x: Tensor) -> torch.Generator:
    return torch.cuda.default_generators[x.device.index]
