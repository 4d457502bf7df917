"""Marks in a memory trace: when each site runs forward, when backward reads what it kept, and who shares a storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from s2a_core.compression.record import Recorder
from s2a_core.device import reset_peak
from s2a_core.operators import Site

T = TypeVar("T")
FORWARD, BACKWARD, GRADIENT = "forward", "backward", "gradient"


@dataclass(frozen=True)
class Mark:
    """A moment of a step. site: the site whose turn it is; num_bytes: of a gradient that is complete."""

    phase: str
    site: str
    num_bytes: int = 0
    peak_before: int = 0  # CUDA: most bytes allocated since the mark before


@dataclass(frozen=True)
class RowSum:
    """The sum of a gradient [rows, columns] over its rows. alive: bytes above those at the step's begin by then."""

    rows: int
    columns: int
    alive: int

    @property
    def num_elements(self) -> int:
        """Of the gradient."""
        return self.rows * self.columns


class Reader(Protocol):
    """Who is told when backward reads what a site kept."""

    def read(self, site: str) -> None:
        """Backward reads it."""


class DroppedTensorRead(Exception):
    """Ends the pass of a model that runs backward inside of its forward pass."""


class Dropping(Recorder):
    """A recorder under which nothing is kept for backward."""

    def packed(self, site: Site, stored: Any, is_owned: bool) -> Watched:
        """Drops what a site keeps."""
        return Watched(self, site.name, None)

    def read(self, site: str) -> None:
        """Backward runs inside of the forward pass, and what it reads was dropped."""
        raise DroppedTensorRead(site)


def dropping(run: Callable[[Sequence[Recorder]], T]) -> T:
    """What a forward pass shows, which keeps nothing where the model lets it. run: with such recorders beside its own;
    may run twice.
    """
    try:
        return run((Dropping(),))
    except DroppedTensorRead:
        return run(())


class Watcher(Recorder):
    """A recorder of a session. `marks` in order; CPU traces find mark i under the label str(i).

    kept: (site, identity of a storage, its bytes) of everything kept exact, each time a site keeps it.
    sums: index of a mark -> the largest gradient whose rows were summed after it.
    """

    def __init__(self, device: torch.device) -> None:
        self.marks: list[Mark] = []
        self.kept: list[tuple[str, int, int]] = []
        self.sums: dict[int, RowSum] = {}
        self._device = device
        self._before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0

    def begins(self, site: Site) -> None:
        """The call of a site begins."""
        self._mark(FORWARD, site.name)

    def packed(self, site: Site, stored: Any, is_owned: bool) -> Watched:
        """Wraps what a site keeps, so that reading it is marked. is_owned: a parameter or the input."""
        if isinstance(stored, Tensor) and not is_owned:
            storage = stored.untyped_storage()
            self.kept.append((site.name, storage._cdata, storage.nbytes()))
        return Watched(self, site.name, stored)

    def read(self, site: str) -> None:
        """Backward reads what a site kept."""
        if not self.marks or (self.marks[-1].phase, self.marks[-1].site) != (BACKWARD, site):
            self._mark(BACKWARD, site)

    def gradient(self, parameter: Tensor) -> None:
        """The gradient of a parameter is complete: a post-accumulate hook."""
        self._mark(GRADIENT, self.marks[-1].site if self.marks else "", parameter.untyped_storage().nbytes())

    def summed(self, rows: int, columns: int) -> None:
        """Backward is about to sum the rows of a gradient [rows, columns] on a CUDA device."""
        last, alive = len(self.marks) - 1, torch.cuda.memory_allocated(self._device) - self._before
        row_sum = RowSum(rows, columns, alive)
        self.sums[last] = max(self.sums.get(last, row_sum), row_sum, key=lambda item: item.num_elements)

    def end(self) -> None:
        """The step is over."""
        self._mark(GRADIENT, self.marks[-1].site if self.marks else "")

    def _mark(self, phase: str, site: str, num_bytes: int = 0) -> None:
        peak = 0
        if self._device.type == "cuda":
            peak = reset_peak(self._device)[0] - self._before
        else:
            with torch.profiler.record_function(str(len(self.marks))):
                pass
        self.marks.append(Mark(phase, site, num_bytes, peak))


class SumWatch(TorchDispatchMode):
    """Inside, a watcher hears of every sum over all but the last dimension of a tensor."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watcher = watcher

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.sum.dim_IntList:
            x, dims = args[0], args[1]
            if x.dim() > 1 and {d % x.dim() for d in dims} == set(range(x.dim() - 1)):
                self.watcher.summed(x.numel() // max(x.shape[-1], 1), x.shape[-1])
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, eq=False)
class Watched:
    """What a site keeps, and whom to tell when backward reads it."""

    watcher: Reader
    site: str
    kept: Any

    def unpacked(self) -> Any:
        """What was kept."""
        self.watcher.read(self.site)
        return self.kept
