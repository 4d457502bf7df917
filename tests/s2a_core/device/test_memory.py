"""A budget on CUDA is what the process holds of the device, and the cap keeps it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from s2a_core.device import device_memory, open_device
from s2a_core.device.memory import require_device
from s2a_core.errors import InvalidInput
from tests.fakegpu.double import FakeDevices

pytestmark = [pytest.mark.slow]
MIB = 2**20
Devices = Callable[..., FakeDevices]

FILLS = """
import dataclasses, json, sys, torch
from s2a_core.device import open_device, release_cached
memory = open_device(sys.argv[1], int(sys.argv[2]))
held, tensors = [], []
try:
    while True:
        tensors.append(torch.empty(1 << 20, dtype=torch.uint8, device="cuda"))
except torch.OutOfMemoryError:
    held.append(memory.held_bytes())
tensors.clear()
release_cached(memory.device)
document = dataclasses.asdict(memory) | {"device": str(memory.device)}
print(json.dumps(document | {"full": held[0], "peak": memory.peak_bytes(), "after": memory.held_bytes()}))
"""


def test_a_cpu_needs_no_device() -> None:
    assert open_device("cpu", 2**20) is None
    assert device_memory("cpu") is None


@pytest.mark.fakegpu
@pytest.mark.parametrize("has_nvml_processes", [True, False])
def test_a_process_that_takes_all_it_can_stays_inside_its_budget(
    fake_devices: Devices, has_nvml_processes: bool
) -> None:
    devices = fake_devices(context_mib=426, has_nvml_processes=has_nvml_processes)
    outcome = devices.python(FILLS, "cuda", str(600 * MIB))
    memory = outcome.document
    assert memory["context_bytes"] == 426 * MIB
    assert memory["is_listed"] is has_nvml_processes
    unused = 20 if has_nvml_processes else 40  # MiB: what code may still take is not seen where NVML hides processes
    assert (600 - unused) * MIB <= outcome.use.peak_bytes <= 600 * MIB
    assert outcome.use.peak_bytes <= memory["peak"] <= 600 * MIB
    assert memory["after"] <= memory["context_bytes"] + memory["workspaces_bytes"] + 8 * MIB


@pytest.mark.fakegpu
def test_what_libraries_take_is_measured_before_anything_is_planned(fake_devices: Devices) -> None:
    small = fake_devices(library_mib=0).python(FILLS, "cuda", str(700 * MIB)).document
    large = fake_devices(library_mib=40).python(FILLS, "cuda", str(700 * MIB)).document
    assert large["workspaces_bytes"] - small["workspaces_bytes"] == 80 * MIB


@pytest.mark.fakegpu
def test_no_budget_lifts_the_ceiling_that_a_process_was_started_with(fake_devices: Devices) -> None:
    """A job that was made from a plan has less reserved than its budget; its request opens the device once more."""
    code = """
import json, torch
from s2a_core.device import open_device
memory = open_device("cuda", 600 << 20)
memory.hold_to(600 << 20)
budgets = []
for budget_bytes in (900 << 20, 0, 550 << 20):
    open_device("cuda", budget_bytes)
    budgets.append(memory.budget_bytes >> 20)
memory.hold_to(800 << 20)
print(json.dumps([*budgets, memory.budget_bytes >> 20]))
"""
    assert fake_devices(context_mib=426).python(code).document == [600, 600, 550, 800]


@pytest.mark.fakegpu
def test_the_second_device_is_opened_and_nothing_is_held_of_the_first(fake_devices: Devices) -> None:
    outcome = fake_devices(num_devices=2).python(FILLS, "cuda:1", str(600 * MIB))
    assert [use.device for use in outcome.uses] == [1]


@pytest.mark.fakegpu
def test_a_budget_below_context_and_workspaces_is_refused_at_once_with_the_smallest_that_does(
    fake_devices: Devices,
) -> None:
    outcome = fake_devices(context_mib=426).python(FILLS, "cuda", str(400 * MIB))
    assert "InfeasibleBudget: nothing fits 400 MiB" in outcome.stderr
    assert "the CUDA context (426 MiB)" in outcome.stderr
    assert outcome.use.peak_bytes < 440 * MIB


@pytest.mark.fakegpu
def test_a_full_device_is_told_in_bytes(fake_devices: Devices) -> None:
    outcome = fake_devices(device_mib=300, context_mib=426).python(FILLS, "cuda", str(900 * MIB))
    assert "OutOfMemory: cuda:0 has no room for a CUDA context: 0 B of its 300 MiB is in use" in outcome.stderr


@pytest.mark.fakegpu
@pytest.mark.parametrize(("used_mib", "fault"), [(3400, "neighbour"), (500, "memory")])
def test_a_context_that_does_not_fit_is_a_neighbours_fault_where_less_than_the_budget_was_left(
    fake_devices: Devices, used_mib: int, fault: str
) -> None:
    """The error of a context names no size."""
    code = """
import json, sys
import torch
from app.runner.verdict import judge
from s2a_core.device import memory, memory_at_failure, nvml
from s2a_core.errors import OutOfMemory

def refused(device):
    raise RuntimeError("CUDA error: out of memory")

torch.cuda.mem_get_info, memory.nvml.used_bytes = refused, lambda uuid: int(sys.argv[1]) << 20
try:
    memory.open_device("cuda", 900 << 20)
except OutOfMemory as error:
    at_failure = memory_at_failure(error, "cuda")
    print(json.dumps([judge(at_failure)["fault"], at_failure.free_bytes >> 20, at_failure.budget_bytes >> 20]))
"""
    document = fake_devices(device_mib=3500).python(code, str(used_mib)).document
    assert document == [fault, 3500 - used_mib, 900]


@pytest.mark.fakegpu
def test_a_device_that_is_not_there_is_bad_input(fake_devices: Devices) -> None:
    outcome = fake_devices().python(FILLS, "cuda:3", str(900 * MIB))
    assert "InvalidInput: there is no cuda:3: CUDA sees 1 device(s)" in outcome.stderr


def test_no_device_is_required_of_a_machine_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    require_device(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_device(torch.device("cuda:1"))
    with pytest.raises(InvalidInput, match="there is no cuda:2: CUDA sees 2 device"):
        require_device(torch.device("cuda:2"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidInput, match="no CUDA device is available"):
        require_device(torch.device("cuda"))


@pytest.mark.fakegpu
def test_code_that_loads_later_is_not_counted_beside_what_was_reserved_before(fake_devices: Devices) -> None:
    """A run of the smallest budget would otherwise be said to have passed it."""
    code = """
import json, torch
from s2a_core.device import open_device, release_cached
memory = open_device("cuda", 600 << 20)
large = torch.empty(100 << 20, dtype=torch.uint8, device="cuda")
del large
release_cached("cuda")
before, outside = memory.peak_bytes(), memory.outside_bytes()
x = torch.zeros(8, device="cuda")
for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "erf", "floor", "ceil", "abs", "neg", "sign", "tanh", "round"):
    getattr(x, name)()
torch.cuda.synchronize()
release_cached("cuda")
print(json.dumps([before, memory.peak_bytes(), memory.outside_bytes() - outside]))
"""
    outcome = fake_devices(context_mib=426, kernel_kib=256).python(code)
    before, after, loaded = outcome.document
    assert loaded >= 2 * MIB
    assert before == after >= outcome.use.peak_bytes


@pytest.mark.fakegpu
@pytest.mark.parametrize("has_nvml_processes", [True, False])
def test_a_plans_parts_do_not_depend_on_what_the_process_ran_before(
    fake_devices: Devices, has_nvml_processes: bool
) -> None:
    """Otherwise a process that has trained would name another smallest budget than one that has just begun."""
    code = """
import json, torch
from s2a_core.device import open_device
memory = open_device("cuda", 600 << 20)
first = memory.parts()
x, parts = torch.zeros(8, device="cuda"), [first]
names = ("sin", "cos", "tan", "exp", "log", "sqrt", "erf", "floor", "ceil", "abs", "neg", "sign", "tanh", "round")
for some in (names[:6], names[6:]):
    for name in some:
        getattr(x, name)()
    parts.append(memory.parts())
print(json.dumps([parts, memory.code_bytes()]))
"""
    devices = fake_devices(context_mib=426, kernel_kib=1024, has_nvml_processes=has_nvml_processes)
    outcome = devices.python(code)
    (first, second, last), loaded_bytes = outcome.document
    assert second == first
    if has_nvml_processes:  # more than runs were seen to load, and room for as much as may load between two looks
        assert last == {**first, "code": loaded_bytes + 8 * MIB}
        assert loaded_bytes >= 14 * MIB
    else:
        assert last == first
    assert outcome.use.peak_bytes <= sum(last.values())


@pytest.mark.fakegpu
def test_a_model_whose_weights_are_beyond_the_cap_is_an_infeasible_budget(fake_devices: Devices) -> None:
    code = """
import json
from s2a_core.errors import InfeasibleBudget
from s2a_core.prepare import prepare
from s2a_core.requests import RunRequest
try:
    prepare(RunRequest("resnet18", weights="none", adapter="full", device="cuda", budget_bytes=475 << 20))
except InfeasibleBudget as error:
    print(json.dumps(error.details))
"""
    outcome = fake_devices(context_mib=426).python(code)
    refusal = outcome.document
    assert refusal["binding"] == "the model's weights"
    assert refusal["binding_bytes"] >= 44 * MIB
    assert refusal["min_feasible_budget_bytes"] >= (426 + 44) * MIB
    assert refusal["is_estimate"]
    assert outcome.use.peak_bytes <= 475 * MIB


@pytest.mark.fakegpu
def test_a_device_that_already_has_the_model_is_opened_with_its_context_alone(fake_devices: Devices) -> None:
    code = """
import json, sys, torch
from s2a_core.device import device_of, open_device
if sys.argv[1] == "begun":
    weights = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    (torch.ones(8, 8, device="cuda") @ torch.ones(8, 8, device="cuda")).sum()
memory = device_of(torch.device("cuda:0")) if sys.argv[1] == "begun" else open_device("cuda")
print(json.dumps([memory.context_bytes, memory.parts(), memory.is_listed]))
"""
    for has_processes in (True, False):
        devices = fake_devices(context_mib=426, has_nvml_processes=has_processes)
        fresh, begun = (devices.python(code, when).document for when in ("fresh", "begun"))
        assert begun[2] is fresh[2] is has_processes
        assert begun[1]["workspaces"] == fresh[1]["workspaces"] > 0
        assert fresh[0] <= begun[0] <= fresh[0] + 8 * MIB  # with the code of the kernels that ran before
