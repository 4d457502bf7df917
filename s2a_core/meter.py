"""Meters of memory: bytes held for backward, the peak of a step, bytes alive. Each counts what really happens."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._profiler import ProfilerActivity, ProfilerConfig, ProfilerState, RecordScope, _ExperimentalConfig
from torch.multiprocessing.reductions import StorageWeakRef

from s2a_core.device import device_memory, reset_peak
from s2a_core.device import is_out_of_memory as is_out_of_memory
from s2a_core.libraries import quiet_libraries

PHASES = ("forward", "backward", "optimizer")
_autograd: Any = torch._C._autograd  # type: ignore[attr-defined]


def held_bytes(model: nn.Module, forward: Callable[[], Tensor], inputs: Iterable[Tensor] = ()) -> int:
    """Bytes autograd holds after `forward()`: unique storages it saved, without parameters, buffers and `inputs`.

    Independent of `compress`: it wraps whatever hooks are inside. Tensors that hooks replaced count as what replaced
    them only when the replacing hooks run inside `forward`; use the session's ledger beside it.
    """
    owned = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers(), *inputs)}
    live: dict[int, tuple[StorageWeakRef, int]] = {}
    with _LiveStorages(live):
        result = forward()
    owned.add(result.untyped_storage()._cdata)
    return sum(size for ref, size in live.values() if not ref.expired() and ref.cdata not in owned)


class _LiveStorages(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers every storage that any operator produced."""

    def __init__(self, seen: dict[int, tuple[StorageWeakRef, int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else (out,):
            if isinstance(t, Tensor):
                storage = t.untyped_storage()
                known = self.seen.get(storage._cdata)
                if known is None or known[0].expired():
                    self.seen[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return out


class PeakMeter:
    """Peak of bytes allocated inside a `with`, above what was alive at entry, and their course over time.

    CPU: the running sum of the allocator's own events, from torch's profiler with operators left out, which makes it
    ten times cheaper. CUDA: the allocator's maximum.
    After the block: `peak_bytes`, `timeline` [(ms since entry, bytes above entry)], on CPU `marks` [(label, index
    into timeline)] of the record_functions inside, and on CUDA `reserved_bytes` and `device_bytes`: the most that the
    allocator reserved, and with it what the process holds beside the allocator; 0 for a device that was not opened.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.peak_bytes = 0
        self.end_bytes = 0
        self.reserved_bytes = 0
        self.device_bytes = 0
        self.timeline: list[tuple[float, int]] = []
        self.marks: list[tuple[str, int]] = []
        self._before = 0

    def __enter__(self) -> PeakMeter:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            reset_peak(self.device)
            memory = device_memory(self.device)
            if memory is not None:
                memory.limit()  # code that was loaded since counts in the cap
            self._before = torch.cuda.memory_allocated(self.device)
            return self
        quiet_libraries()
        config = ProfilerConfig(ProfilerState.KINETO, False, True, False, False, False, _ExperimentalConfig())
        _autograd._prepare_profiler(config, {ProfilerActivity.CPU})
        _autograd._enable_profiler(config, {ProfilerActivity.CPU}, {RecordScope.USER_SCOPE})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            allocated, self.reserved_bytes = reset_peak(self.device)
            self.peak_bytes = allocated - self._before
            self.end_bytes = torch.cuda.memory_allocated(self.device) - self._before
            memory = device_memory(self.device)
            self.device_bytes = 0 if memory is None else memory.outside_bytes() + self.reserved_bytes
            return
        events = _autograd._disable_profiler().events()
        if error is not None:
            return
        now = 0
        begin: int | None = None
        for at_ns, num_bytes, name in sorted((e.start_ns(), e.nbytes(), e.name()) for e in events):
            if name != "[memory]":
                self.marks.append((name, len(self.timeline)))
                continue
            begin = at_ns if begin is None else begin
            now += num_bytes
            self.peak_bytes = max(self.peak_bytes, now)
            self.timeline.append(((at_ns - begin) / 1e6, now))
        self.end_bytes = now

    def course(self, before_bytes: int) -> list[tuple[float, int, str]]:
        """The timeline as (ms, bytes alive, the one of PHASES it lies in, empty before the first).

        before_bytes: alive at entry.
        """
        begun = [mark for mark in self.marks if mark[0] in PHASES]  # optimizers record functions of their own
        starts, labels = [index for _, index in begun], ["", *(label for label, _ in begun)]
        return [
            (at, before_bytes + size, labels[bisect_right(starts, i)]) for i, (at, size) in enumerate(self.timeline)
        ]

    def levels(self, before_bytes: int) -> dict[str, int]:
        """Peaks in bytes: `live`; on a CUDA device that was opened `allocated`, `reserved`, and `device`, all that the
        process held of it so far. before_bytes: alive at entry.
        """
        live, memory = before_bytes + self.peak_bytes, device_memory(self.device)
        if memory is None:
            return {"live": live}
        return {"allocated": live, "reserved": self.reserved_bytes, "device": memory.peak_bytes()}


def mark_phase(label: str) -> None:
    """Begin one of PHASES in the timeline of the PeakMeter that runs on CPU; costs a look at a flag where none does."""
    if torch._C._autograd._profiler_enabled():
        with torch.profiler.record_function(label):
            pass


def live_bytes(*owners: nn.Module | torch.optim.Optimizer) -> int:
    """Bytes of the parameters, gradients, buffers and optimizer state that are alive, each storage once."""
    seen: dict[int, int] = {}

    def count(tensor: Any) -> None:
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            seen[storage._cdata] = storage.nbytes()

    for owner in owners:
        if isinstance(owner, nn.Module):
            for tensor in (*owner.parameters(), *owner.buffers()):
                count(tensor)
                count(tensor.grad if tensor.is_leaf else None)
        else:
            for state in owner.state.values():
                for value in state.values():
                    count(value)
    return sum(seen.values())
