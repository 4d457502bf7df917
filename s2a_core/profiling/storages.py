"""The steps that show what every storage of a site costs: its bytes, the gradient's error and the time it adds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from operator import attrgetter
from typing import Protocol

import torch
from torch import nn

from s2a_core.compression import SiteSpec
from s2a_core.profiling.progress import with_progress
from s2a_core.profiling.runs import Step, gradient, relative_error
from s2a_core.profiling.sensitivity import anchors, groups, nominal_error, share
from s2a_core.profiling.times import Extra, Times
from s2a_core.storage import WHOLE, Storage
from s2a_core.train.types import OnEvent


@dataclass
class Measured:
    """Per site: storage -> bytes of the larger batch, error, what it adds to a step, bytes at any batch."""

    bytes: dict[Storage, float] = field(default_factory=dict)
    error: dict[Storage, float] = field(default_factory=dict)
    extra: dict[Storage, Extra] = field(default_factory=dict)
    fixed: dict[Storage, float] = field(default_factory=dict)
    of_way: dict[Storage, float] = field(default_factory=dict)  # bytes where everything was stored alike

    def fixed_bytes(self, storage: Storage) -> float:
        """Bytes at any batch; of a width that no way of running had, those of the others: scales."""
        of_codes = max((size for other, size in self.fixed.items() if other.bits), default=0.0)
        return self.fixed.get(storage, of_codes if storage.bits else 0.0)

    def extra_of(self, spec: SiteSpec, storage: Storage) -> Extra:
        """Of a width that was not measured as much as of any that was."""
        measured = [extra for other, extra in self.extra.items() if other is not spec.options[0]]
        return self.extra.get(storage) or max(measured, default=Extra(), key=attrgetter("ms"))


class StepOf(Protocol):
    """Runs a step with these storages, everything else exact."""

    def __call__(self, sites: Mapping[str, Storage], samples: int | None = None, *, chunk: int = 1) -> Step: ...


class StorageErrors:
    """Fills `measured`. step: runs one; samples: of the steps whose gradients are compared; batches: those measured."""

    def __init__(
        self, model: nn.Module, step: StepOf, times: Times, specs: Sequence[SiteSpec],
        measured: Mapping[str, Measured], batches: tuple[int, int], samples: int,
    ) -> None:  # fmt: skip
        self.model, self.step, self.times, self.specs = model, step, times, specs
        self.measured, self.batches, self.samples = measured, batches, samples
        self._exact_gradient = torch.empty(0)

    @property
    def _step_s(self) -> float:
        """Seconds of measuring one storage."""
        return self.times.cost * self.times.exact_of(self.samples)

    def _error(self) -> float:
        """Of the gradient that the last step left behind."""
        return relative_error(gradient(self.model), self._exact_gradient)

    def exact_gradient(self) -> torch.Tensor:
        """Of the samples whose gradients are compared."""
        self.step({}, self.samples)
        return gradient(self.model)

    def of_groups(self, seconds: float, on_event: OnEvent) -> None:
        """Sites of one shape together: in two widths, in one, or all sites of an operator alike, as time allows."""
        for of in self.measured.values():
            of.bytes.update({s: size for s, size in of.of_way.items() if size})
        self._exact_gradient = self.exact_gradient()
        together = groups(self.specs)
        if len(together) * self._step_s > seconds:
            together = groups(self.specs, by_shape=False)
        is_quick = sum(len(anchors(group[0])) for group in together) * self._step_s > seconds
        for group in with_progress(together, on_event):
            for storage in anchors(group[0], is_quick):
                self._store_alike(group, storage)

    def _store_alike(self, group: Sequence[SiteSpec], storage: Storage) -> None:
        """One storage of a whole group."""
        sites = {spec.name: storage for spec in group}
        step = self.step(sites, self.samples, chunk=min(self.times.chunk, self.samples))
        error = share(self._error(), group)
        extra = self.times.extra(sites, step, self.samples)
        for spec in group:
            of, size = self.measured[spec.name], step.bytes.get(spec.name, 0)
            fixed = min(of.fixed_bytes(storage), size)
            of.bytes[storage] = fixed + (size - fixed) * self.batches[1] / self.samples
            of.error[storage], of.extra[storage] = error, extra

    def of_sites(self, seconds: float) -> None:
        """Tells alike sites apart: each one's own error at its lowest measured width scales all its errors."""
        start = time.perf_counter()
        together = [group for group in groups(self.specs) if len(group) > 1]
        for group in sorted(together, key=lambda g: g[0].op not in WHOLE):
            coded = [s for s in anchors(group[0]) if s.bits and s in self.measured[group[0].name].error]
            if not coded or (time.perf_counter() - start) + len(group) * self._step_s > seconds:
                continue
            width = coded[0]
            for spec in group:
                self.step({spec.name: width}, self.samples)
                of = self.measured[spec.name]
                ratio = self._error() / max(of.error[width], 1e-12)
                of.error = {s: e * ratio for s, e in of.error.items()}

    def add_up(self, operators: Mapping[str, Mapping[str, Storage]]) -> None:
        """What single storages add to a step adds up to what their operator's sites add together.

        operators: the storages of each one's sites. One step of a storage says little, and a plan would take just those
        that seemed free by chance: half of the time is spread as measured, half by elements, evenly over regions.
        """
        for operator, total_ms in self.times.operator_ms.items():
            sites = operators[operator]
            own = [spec for spec in self.specs if spec.name in sites]
            measured_ms = sum(self.measured[s.name].extra_of(s, sites[s.name]).ms_per_sample for s in own)
            sizes = {spec.name: 1 if operator in WHOLE else prod(spec.shape[1:]) for spec in own}
            share = 0.5 if measured_ms else 0.0
            factor = share * total_ms / measured_ms if measured_ms else 0.0
            even = (1 - share) * total_ms / max(sum(sizes.values()), 1)
            for spec in own:
                of, first = self.measured[spec.name], spec.options[0]
                of.extra = {
                    storage: extra if storage is first else extra.line(factor, even * sizes[spec.name])
                    for storage, extra in of.extra.items()
                }

    def nominal(self, policies: Mapping[str, Mapping[str, Storage]]) -> None:
        """A second width of everything at once, for the bytes; errors as the rule says, not as the model has them.

        policies: a uniform choice for each way of running.
        """
        for of in self.measured.values():
            for storage, size in of.of_way.items():
                of.bytes[storage], of.error[storage], of.extra[storage] = size, nominal_error(storage), Extra()
        for mode, sites in policies.items():
            if mode == "exact":
                continue
            chosen = {name: Storage.B3 if storage is Storage.B4 else storage for name, storage in sites.items()}
            step = self.step(chosen)
            for name, storage in chosen.items():
                of = self.measured[name]
                if storage not in of.bytes and (mode == "codes" or name.endswith(f":{mode}")):
                    of.bytes[storage] = step.bytes.get(name, 0)
                    of.error[storage], of.extra[storage] = nominal_error(storage), Extra()
