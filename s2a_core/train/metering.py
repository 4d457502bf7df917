"""What a run takes while it trains: its peak, the levels it is made of, and the memory over one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from s2a_core.device import device_memory
from s2a_core.meter import PeakMeter, live_bytes
from s2a_core.train.recipe import WeightAverage


class RunMeter:
    """Peak and levels in bytes over the blocks that were metered; timeline: (ms, bytes, phase) of one step."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None, device: torch.device
    ) -> None:
        self.model, self.optimizer, self.average, self.device = model, optimizer, average, device
        self.peak = 0
        self.levels: dict[str, int] = {}
        self.timeline: list[tuple[float, int, str]] = []

    @contextlib.contextmanager
    def metered(self, is_wanted: bool, best_state: Mapping[str, Tensor]) -> Iterator[None]:
        """Keep the peak over the block: what was alive before and what was allocated inside."""
        if not is_wanted:
            yield
            return
        before = live_bytes(self.model, self.optimizer)
        if self.average is not None:
            before += sum(tensor.nbytes for tensor in self.average.shadow.values())
        if self.device.type == "cpu":
            before += sum(tensor.nbytes for tensor in best_state.values())
        with PeakMeter(self.device) as meter:
            yield
        levels = meter.levels(before)
        self.levels = {name: max(size, self.levels.get(name, 0)) for name, size in levels.items()}
        self.peak = max(self.peak, *levels.values())
        if meter.timeline and self.model.training:
            self.timeline = meter.course(before)

    def close(self) -> None:
        """Take in the steps that were not metered, where the device itself keeps count."""
        if (memory := device_memory(self.device)) is not None:
            self.peak = self.levels["device"] = max(self.peak, memory.peak_bytes())
