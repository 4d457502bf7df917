"""Launches a Triton kernel without Triton's own look at every argument, which costs the host more than the launch.

Triton compiles a kernel for the types of its arguments, for pointers that are multiples of 16 or not, and for some
values of numbers. All of that is in the key here, so a launch that was seen before goes straight to its compiled
kernel. Numbers are in the key as they are: a model has few sizes. Where Triton's classes are others than those of 3.6
to 3.8, and under its interpreter, every launch is an ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from triton.runtime.jit import JITFunction

from s2a_core.kernels.launches import Launches

MOST_KNOWN = 4096  # launches that are remembered: far above what a model has, so that changing sizes end somewhere


class _Direct:
    """Whether launches may go straight to a compiled kernel, and that of each key."""

    is_possible = True
    known: dict[tuple[Any, ...], Callable[..., Any]] = {}  # of the process, as Triton's own is


def launch(kernel: Any, grid: tuple[int, ...], tensors: Sequence[Tensor], *numbers: Any, **options: Any) -> None:
    """kernel[grid](*tensors, *numbers, **options). numbers: also its constants; options: of the compiler."""
    Launches.count += 1
    if not _Direct.is_possible or not isinstance(kernel, JITFunction):
        kernel[grid](*tensors, *numbers, **options)
        return
    device = tensors[0].get_device()
    pointers = [t.data_ptr() for t in tensors]
    key = (
        kernel, grid, numbers, device, *[t.dtype for t in tensors], *[p % 16 == 0 for p in pointers], *options.items()
    )  # fmt: skip
    run = _Direct.known.get(key)
    if run is not None:
        run(*pointers, *numbers, stream=torch._C._cuda_getCurrentRawStream(device))
        return
    compiled = kernel[grid](*tensors, *numbers, **options)
    if len(_Direct.known) >= MOST_KNOWN:
        _Direct.known.clear()
    try:
        _Direct.known[key] = compiled[(*grid, 1, 1)[:3]]
    except (TypeError, AttributeError):  # no compiled kernel, or none that is launched like this
        _Direct.is_possible = False
