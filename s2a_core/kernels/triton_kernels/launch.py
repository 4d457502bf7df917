"""Launches a Triton kernel without Triton's own look at every argument, which costs the host more than the launch.

Triton compiles a kernel for the types of its arguments, for pointers that are multiples of 16 or not, and for some
values of numbers. All of that is in the key here, so a launch that was seen before goes straight to its compiled
kernel; Triton's hooks see the first one alone. Numbers are in the key as they are: a model has few sizes. Where
Triton's classes are others than those of 3.6 to 3.8, and under its interpreter, every launch is an ordinary one.
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


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up. Triton's own function is made for kernels and takes ten times as long."""
    return -(-a // b)


def power_of_2(n: int) -> int:
    """The least one that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def launch(kernel: Any, grid: tuple[int, ...], tensors: Sequence[Tensor], *numbers: Any, **options: Any) -> None:
    """kernel[grid](*tensors, *numbers, **options). numbers: also its constants; options: of the compiler."""
    Launches.count += 1
    if not _Direct.is_possible or not isinstance(kernel, JITFunction):
        kernel[grid](*tensors, *numbers, **options)
        return
    device, pointers, dtypes, joint = tensors[0].get_device(), [], [], 0
    for tensor in tensors:
        pointer = tensor.data_ptr()
        pointers.append(pointer)
        dtypes.append(tensor.dtype)
        joint |= pointer
    aligned = None if joint & 15 == 0 else tuple([p % 16 == 0 for p in pointers])
    key = (kernel.fn, grid, numbers, device, aligned, *dtypes, *options.items())
    run = _Direct.known.get(key)
    if run is not None:
        run(torch._C._cuda_getCurrentRawStream(device), pointers, numbers)
        return
    compiled = kernel[grid](*tensors, *numbers, **options)
    if len(_Direct.known) >= MOST_KNOWN:
        _Direct.known.clear()
    try:
        _Direct.known[key] = _runner(compiled, (*grid, 1, 1)[:3])
    except AttributeError:  # no compiled kernel, or one that is not launched like this
        _Direct.is_possible = False


def _runner(compiled: Any, grid: tuple[int, ...]) -> Callable[..., Any]:
    """What launches a compiled kernel on a stream with these pointers and numbers."""
    start, function, metadata = compiled.run, compiled.function, compiled.packed_metadata
    x, y, z = grid

    def run(stream: int, pointers: list[int], numbers: tuple[Any, ...]) -> None:
        start(x, y, z, stream, function, metadata, None, None, None, *pointers, *numbers)

    def run_without_scratch(stream: int, pointers: list[int], numbers: tuple[Any, ...]) -> None:
        operands = (*pointers, *numbers)
        direct(x, y, z, stream, function, *modes, metadata, None, None, None, None, None, *described, operands)

    if _needs_no_scratch(start):
        direct, modes = start.launch, (start.launch_cooperative_grid, start.launch_pdl)
        described = start.arg_annotations, start.kernel_signature
        run = run_without_scratch
    run.compiled = compiled  # type: ignore[attr-defined]  # its code is unloaded with it
    return run


def _needs_no_scratch(launcher: Any) -> bool:
    """Whether this is the launcher of Triton 3.8, for a kernel that it only hands on, as all of ours are."""
    sizes = [getattr(launcher, f"{kind}_scratch_size", None) for kind in ("global", "profile")]
    has_parts = all(
        hasattr(launcher, name)
        for name in ("launch", "launch_cooperative_grid", "launch_pdl", "arg_annotations", "kernel_signature")
    )
    return has_parts and sizes == [0, 0] and getattr(launcher, "gsan_enabled", None) is False
