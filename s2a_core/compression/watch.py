"""Marks in a memory trace: when each site runs forward, when backward reads what it kept, and who shares a storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from s2a_core.compression.record import Recorder
from s2a_core.device import reset_peak
from s2a_core.operators import Site

FORWARD, BACKWARD, GRADIENT = "forward", "backward", "gradient"


@dataclass(frozen=True)
class Mark:
    """A moment of a step. site: the site whose turn it is; num_bytes: of a gradient that is complete."""

    phase: str
    site: str
    num_bytes: int = 0
    peak_before: int = 0  # CUDA: most bytes allocated since the mark before


class Watcher(Recorder):
    """A recorder of a session. `marks` in order; CPU traces find mark i under the label str(i).

    kept: (site, identity of a storage, its bytes) of everything kept exact, each time a site keeps it.
    """

    def __init__(self, device: torch.device) -> None:
        self.marks: list[Mark] = []
        self.kept: list[tuple[str, int, int]] = []
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


@dataclass(frozen=True, eq=False)
class Watched:
    """What a site keeps, and whom to tell when backward reads it."""

    watcher: Watcher
    site: str
    kept: Any

    def unpacked(self) -> Any:
        """What was kept."""
        self.watcher.read(self.site)
        return self.kept
