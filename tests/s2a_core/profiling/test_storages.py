"""Errors of storages are measured in as many steps as the time allows, on no more samples than they need."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from s2a_core.compression import SiteSpec
from s2a_core.profiling.runs import Step
from s2a_core.profiling.storages import Measured, StorageErrors
from s2a_core.profiling.times import Extra, Times
from s2a_core.storage import CODES, Storage

SITES = [
    SiteSpec(f"blocks.{i}.{name}:gelu", "gelu", (4, width), "float32", (Storage.EXACT, *CODES), None, 0)
    for i in range(3)
    for name, width in (("a", 8), ("b", 16))
]


class Machine:
    """A model of one gradient, whose steps take a second for 4 samples and store a byte a bit and 10 for scales."""

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.steps: list[tuple[dict[str, Storage], int]] = []
        self.measured = {spec.name: Measured(fixed={Storage.B4: 10.0}) for spec in SITES}
        times = Times(lambda sites, n: Step({}, 0, n / 4, 0.0), (2, 4), lambda sites, n, chunk: lambda: None)
        times.measure({})
        self.errors = StorageErrors(self.model, self.step, times, SITES, self.measured, (2, 4), 2)

    def step(self, sites: Mapping[str, Storage], samples: int | None = None, *, chunk: int = 1) -> Step:
        assert samples is not None
        self.steps.append((dict(sites), samples))
        error = sum(1 / (storage.bits or 32) for storage in sites.values())
        self.model.weight.grad = torch.tensor([[1.0 + error]])
        return Step({name: 10 + samples * int(s.bits or 32) for name, s in sites.items()}, 0, samples / 4 + 0.1, 0.0)


@pytest.mark.parametrize(("seconds", "num_steps"), [(100.0, 1 + 2 * 2), (2.0, 1 + 2), (0.5, 1 + 1)])
def test_less_time_measures_one_width_and_then_an_operator_as_one(seconds: float, num_steps: int) -> None:
    machine = Machine()
    machine.errors.of_groups(seconds, lambda event: None)
    assert len(machine.steps) == num_steps
    assert {samples for _, samples in machine.steps} == {2}
    assert all(of.error[Storage.B2] > 0 for of in machine.measured.values())


def test_times_of_single_storages_add_up_to_their_operators_and_none_is_free_by_chance() -> None:
    machine = Machine()
    machine.errors.of_groups(100.0, lambda event: None)
    free = machine.measured[SITES[0].name].extra
    free[Storage.B4] = Extra(0.0)
    machine.errors.times.operator_ms = {"gelu": 36.0}
    machine.errors.add_up({"gelu": {spec.name: Storage.B4 for spec in SITES}})
    times = [machine.measured[spec.name].extra[Storage.B4].ms_per_sample for spec in SITES]
    assert sum(times) == pytest.approx(36)
    assert times[0] == pytest.approx(0.5 * 36 * 8 / (3 * 8 + 3 * 16))
    assert times[1] > times[0]


def test_bytes_are_those_of_the_larger_batch() -> None:
    machine = Machine()
    machine.errors.of_groups(100.0, lambda event: None)
    for of in machine.measured.values():
        assert (of.bytes[Storage.B4], of.bytes[Storage.B2]) == (10 + 4 * 4, 10 + 4 * 2)


def test_sites_of_one_shape_are_told_apart_where_time_is_left() -> None:
    machine = Machine()
    machine.errors.of_groups(100.0, lambda event: None)
    together = len(machine.steps)
    machine.errors.of_sites(1.0)
    assert len(machine.steps) == together  # three sites of a shape take 2.25 s
    machine.errors.of_sites(100.0)
    assert len(machine.steps) == together + len(SITES)
