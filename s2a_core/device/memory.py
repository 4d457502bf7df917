"""What this process holds of a CUDA device, measured, and the allocator's cap that keeps it inside a budget.

held = outside + reserved        outside: the context, kernels' code, what libraries take beside the allocator
cap of the allocator = budget - outside - CODE_BYTES
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, field

import torch

from s2a_core.device import nvml
from s2a_core.device.failures import MemoryAtFailure, is_out_of_memory
from s2a_core.device.libraries import configure, warm_up, workspaces_by_budget
from s2a_core.errors import InfeasibleBudget, InvalidInput, OutOfMemory
from s2a_core.sizes import MIB, format_bytes

# Code that loads between two looks at the device, the kernels of a step of a new kind, is kept free under the cap. A
# share of what `python -m benchmarks.device_grid` counts in whole runs, whose column `held` shows that it is enough.
CODE_BYTES = 8 * MIB
# Code of a whole run beyond the warm-up's: what a plan counts, however much of it the process that plans has loaded so
# far. The grid counts 4 to 12 MiB (`code_bytes` in docs/device/results.jsonl), with kernels of 64 KiB.
RUN_CODE_BYTES = 12 * MIB
LARGEST_CONTEXT_BYTES = 616 * MIB  # published, of LMCache on an H100
# Beyond the context and workspaces nothing trains in less: two segments of the allocator, and code.
LEAST_BYTES = 16 * MIB


@dataclass
class DeviceMemory:
    """One device of this process. context_bytes: before any tensor; workspaces_bytes: of libraries, once warmed up;
    warm_bytes: outside the allocator by then.

    budget_bytes: 0 for none; ceiling_bytes: of who started this process, which no budget lifts. is_listed: NVML lists
    this process, so that `outside_bytes` is its own word.
    """

    device: torch.device
    uuid: str
    total_bytes: int
    context_bytes: int
    is_listed: bool
    workspaces_bytes: int = 0
    allocated_workspaces_bytes: int = 0
    warm_bytes: int = 0
    budget_bytes: int = 0
    ceiling_bytes: int = 0
    _outside: int = 0
    _reserved: int = field(default=0, repr=False)  # the most since `_outside` was last looked at
    _peak: int = field(default=0, repr=False)

    def outside_bytes(self) -> int:
        """Bytes this process holds beside the allocator's segments; where NVML is silent, with CODE_BYTES for code."""
        if self.is_listed:
            listed = nvml.bytes_by_process(self.uuid).get(os.getpid(), 0)
            self._outside = max(self._outside, listed - torch.cuda.memory_reserved(self.device))
        return self._outside

    def code_bytes(self) -> int:
        """Bytes of code loaded since the warm-up."""
        return self.outside_bytes() - self.warm_bytes

    def held_bytes(self) -> int:
        """Bytes this process holds of the device."""
        return self.outside_bytes() + torch.cuda.memory_reserved(self.device)

    def peak_bytes(self) -> int:
        """The most bytes this process has held of the device since it came to it."""
        self._settle()
        return self._peak

    def note_reserved(self, reserved_bytes: int) -> None:
        """Remember a largest reservation of the allocator, whose statistics are about to begin anew."""
        self._reserved = max(self._reserved, reserved_bytes)

    def _settle(self) -> None:
        """Count what was reserved since the last look with what is outside by now: no more was at that moment.

        Only of that time: code that loads later was not there beside an earlier reservation.
        """
        reserved = max(self._reserved, torch.cuda.max_memory_reserved(self.device))
        self._peak, self._reserved = max(self._peak, self.outside_bytes() + reserved), 0

    def limit(self, budget_bytes: int | None = None) -> None:
        """Cap the allocator so that the process stays inside the budget; say it again when more code may be loaded."""
        if budget_bytes is not None:
            self.budget_bytes = min((size for size in (budget_bytes, self.ceiling_bytes) if size > 0), default=0)
        self._settle()
        if self.budget_bytes <= 0:
            return
        room = self.budget_bytes - self._outside - CODE_BYTES
        share = min(max(room, 0) / self.total_bytes, 1.0)
        torch.cuda.set_per_process_memory_fraction(share, self.device)

    def hold_to(self, ceiling_bytes: int) -> None:
        """Cap the process for good: budgets of later requests only count below this, until it is said anew."""
        self.ceiling_bytes = ceiling_bytes
        self.limit(ceiling_bytes)

    def parts(self) -> dict[str, int]:
        """What a run holds beside its tensors, by name: context, workspaces, code that loads after the warm-up.

        The same whatever this process ran before, up to RUN_CODE_BYTES of code.
        """
        code = max(RUN_CODE_BYTES, self.code_bytes()) + CODE_BYTES
        return {"context": self.warm_bytes, "workspaces": self.allocated_workspaces_bytes, "code": code}

    def workspaces_by_budget(self) -> tuple[tuple[int, int], ...]:
        """Workspaces of a process of another budget: (from so many bytes on, bytes)."""
        major, _ = torch.cuda.get_device_capability(self.device)
        return workspaces_by_budget(self.allocated_workspaces_bytes, self.budget_bytes, major)

    @property
    def resident_threads(self) -> int:
        """Threads that the device runs at once."""
        properties = torch.cuda.get_device_properties(self.device)
        return int(properties.multi_processor_count * properties.max_threads_per_multi_processor)

    @property
    def least_budget_bytes(self) -> int:
        """No budget below this can hold anything."""
        return self.context_bytes + self.workspaces_bytes + CODE_BYTES + LEAST_BYTES


_devices: dict[int, DeviceMemory] = {}


def device_memory(device: torch.device | str) -> DeviceMemory | None:
    """The device as this process opened it; None for a CPU and for a device that was never opened."""
    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return None
    return _devices.get(torch.cuda.current_device() if device.index is None else device.index)


def require_device(device: torch.device) -> None:
    """Raises InvalidInput for a CUDA device that this process does not see."""
    if device.type != "cuda":
        return
    count, details = torch.cuda.device_count(), {"device": str(device)}
    if not torch.cuda.is_available():
        raise InvalidInput("no CUDA device is available: use --device cpu", details=details)
    if (device.index or 0) >= count:
        raise InvalidInput(f"there is no {device}: CUDA sees {count} device(s), from cuda:0", details=details)


def open_device(name: str, budget_bytes: int = 0) -> DeviceMemory | None:
    """Make the context on a CUDA device, take the libraries' workspaces and cap the allocator to the budget.

    None for a CPU. The device becomes the current one. Raises InvalidInput for a device that is not there, OutOfMemory
    where not even the context fits on it, InfeasibleBudget for a budget below context and workspaces.
    """
    device = torch.device(name)
    if device.type != "cuda":
        return None
    require_device(device)
    number = device.index or 0
    known = _devices.get(number)
    if known is None:
        configure(budget_bytes)
        known = _devices[number] = _opened(torch.device("cuda", number), budget_bytes)
    torch.cuda.set_device(number)
    known.limit(budget_bytes)
    if 0 < budget_bytes < known.least_budget_bytes:
        raise InfeasibleBudget(
            budget_bytes=budget_bytes,
            min_feasible_budget_bytes=known.least_budget_bytes,
            binding="the CUDA context",
            binding_bytes=known.context_bytes,
            details={"context_bytes": known.context_bytes, "workspaces_bytes": known.workspaces_bytes},
            is_estimate=True,
        )
    return known


def device_of(model_device: torch.device) -> DeviceMemory | None:
    """Where a model is; opened where its owner moved it there first. The current device stays. None for a CPU."""
    if model_device.type != "cuda":
        return None
    known = device_memory(model_device)
    if known is None:
        with torch.cuda.device(model_device):
            known = open_device(str(model_device))
    return known


def _opened(device: torch.device, budget_bytes: int) -> DeviceMemory:
    """Contexts are measured by NVML's list of processes, else by what the device had in use before and after.

    Where tensors of this process are there already, so is its context: the rest of what NVML lists, else of what is in
    use, neighbours' memory included up to the largest context.
    """
    properties = torch.cuda.get_device_properties(device)
    uuid = str(properties.uuid)
    has_begun = torch.cuda.is_initialized() and torch._C._cuda_hasPrimaryContext(device.index)  # type: ignore[attr-defined]
    reserved, allocated = _emptied(device) if has_begun else (0, 0)
    before = nvml.used_bytes(uuid)
    was_listed = os.getpid() in nvml.bytes_by_process(uuid) and not has_begun  # somebody else, of another space of pids
    try:
        torch.cuda.set_device(device)
        free, total = torch.cuda.mem_get_info(device)
        listed = None if was_listed else nvml.bytes_by_process(uuid).get(os.getpid())
        if listed is not None:
            context = listed - reserved
        elif has_begun:
            context = min(total - free - reserved, LARGEST_CONTEXT_BYTES)
        else:
            context = total - free - min(before or 0, total - free)
        memory = DeviceMemory(device, uuid, total, context, listed is not None, _outside=context)
        warm_up(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        used = nvml.used_bytes(uuid)
        held = "an unknown part" if used is None else format_bytes(used)
        raise OutOfMemory(
            f"{device} has no room for a CUDA context: {held} of its {format_bytes(properties.total_memory)} is in "
            "use: free memory on it, or use another device",
            details=_at_start(uuid, budget_bytes, used, int(properties.total_memory)).to_json(),
        ) from error
    release_cached(device)
    memory.warm_bytes = memory.outside_bytes()
    if not memory.is_listed:
        # Neighbours come and go, so what code takes later is not read off the device: it is counted in advance.
        memory._outside = context + 4 * CODE_BYTES
        memory.warm_bytes = memory._outside - RUN_CODE_BYTES
    memory.workspaces_bytes = memory.held_bytes() - context - reserved
    memory.allocated_workspaces_bytes = torch.cuda.memory_allocated(device) - allocated
    return memory


def _emptied(device: torch.device) -> tuple[int, int]:
    """Bytes (reserved, allocated) of the tensors that are there, without what is cached and cuBLAS's workspaces."""
    torch._C._cuda_clearCublasWorkspaces()  # type: ignore[attr-defined]  # the warm-up makes and counts them
    gc.collect()
    with torch.cuda.device(device):
        torch.cuda.empty_cache()
    return torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)


def _at_start(uuid: str, budget_bytes: int, used: int | None, total_bytes: int) -> MemoryAtFailure:
    """What is known of a device without room for a context and workspaces: the process wants the rest of its budget."""
    users = nvml.bytes_by_process(uuid)
    held, free = users.pop(os.getpid(), 0), None if used is None else total_bytes - used
    return MemoryAtFailure(held, max(budget_bytes - held, 0), budget_bytes, free, total_bytes, users)


def reset_peak(device: torch.device) -> tuple[int, int]:
    """Let the allocator's statistics begin anew; returns the most bytes allocated and reserved until then."""
    stats = torch.cuda.memory_stats_as_nested_dict(device)
    memory = device_memory(device)
    reserved = int(stats["reserved_bytes"]["all"]["peak"]) if stats else 0
    if memory is not None:
        memory.note_reserved(reserved)
    torch.cuda.reset_peak_memory_stats(device)
    return int(stats["allocated_bytes"]["all"]["peak"]) if stats else 0, reserved


def release_cached(device: torch.device | str) -> None:
    """Give the allocator's unused segments back to the device, and count what code was loaded meanwhile in the cap."""
    device = torch.device(device)
    if device.type != "cuda":
        return
    gc.collect()
    memory = device_memory(device)
    with torch.cuda.device(device):
        torch.cuda.empty_cache()
    if memory is not None:
        reset_peak(device)  # what follows begins without what was given back
        memory.limit()
