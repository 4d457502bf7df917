"""One real forward and backward under a policy: its ledger, peak, gradient and time."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from s2a_core.batches import Samples, forward, loss_of
from s2a_core.compression import compress
from s2a_core.compression.watch import SumWatch, Watcher
from s2a_core.meter import PeakMeter
from s2a_core.operators import fit_tables
from s2a_core.profiling.timeline import Trace
from s2a_core.storage import StoragePolicy


@dataclass(frozen=True)
class Step:
    """What one forward and backward showed. bytes: site -> held; peak_bytes: above parameters and input.

    trace: the course of its memory, where metered; kept: (site, identity of a storage, bytes) kept exact.
    """

    bytes: Mapping[str, int]
    peak_bytes: int
    seconds: float
    loss: float
    trace: Trace = field(default_factory=Trace)
    kept: tuple[tuple[str, int, int], ...] = ()

    @property
    def held_bytes(self) -> int:
        """Bytes held for backward."""
        return sum(self.bytes.values())


def run_step(
    model: nn.Module, x: Tensor | Samples, y: Tensor | Samples, policy: StoragePolicy, precision: str, is_metered: bool
) -> Step:
    """Forward and backward of images x [B, 3, H, W] and labels y [B], or of samples with their loss.

    It begins without gradients, as the first micro-batch of a step does; a metered one counts them. The same random
    numbers are drawn each time.
    """
    fit_tables(policy, x.device)
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.grad = None
    watcher = Watcher(x.device) if is_metered else None
    hooks = [p.register_post_accumulate_grad_hook(watcher.gradient) for p in trained] if watcher else []
    torch.manual_seed(0)
    meter = PeakMeter(x.device) if is_metered else None
    with no_collection() if is_metered else nullcontext(), meter or nullcontext():
        start = time.perf_counter()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            recorders = () if watcher is None else (watcher,)
            with compress(model, policy, ledger=True, recorders=recorders) as session:
                loss = loss_of(forward(model, x), y)
        held = session.ledger.bytes_by_site()
        del session
        with SumWatch(watcher) if watcher is not None and x.device.type == "cuda" else nullcontext():
            loss.backward()
        value = loss.item()
        seconds = time.perf_counter() - start
        del loss
        if watcher is not None:
            watcher.end()
    for hook in hooks:
        hook.remove()
    if meter is None or watcher is None:
        return Step(held, 0, seconds, value)
    places = {int(name): index for name, index in meter.marks if name.isdecimal()}
    trace = Trace(tuple(watcher.marks), tuple(size for _, size in meter.timeline), places, watcher.sums)
    peak = max(turn.fresh for turn in trace.turns().values())
    return Step(held, peak, seconds, value, trace, tuple(watcher.kept))


@contextmanager
def no_collection() -> Iterator[None]:
    """Garbage of earlier steps freed inside a metered one would lower its running sum."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def evaluation_peak(model: nn.Module, x: Tensor | Samples, precision: str, policy: StoragePolicy | None = None) -> int:
    """Peak bytes of one forward pass without gradients, above parameters and input."""
    training = [m for m in model.modules() if m.training]
    model.eval()
    with PeakMeter(x.device) as meter, torch.no_grad():
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            if policy is None:
                forward(model, x)
            else:
                with compress(model, policy):
                    forward(model, x)
    for module in training:
        module.training = True
    return meter.peak_bytes


def gradient(model: nn.Module) -> Tensor:
    """All trainable gradients as one vector, in the machine's memory: a device's is the budget."""
    return torch.cat([p.grad.detach().flatten().float().cpu() for p in model.parameters() if p.grad is not None])


def relative_error(actual: Tensor, exact: Tensor) -> float:
    """Relative L2 distance; 1 where the gradient is not finite."""
    error = float((actual - exact).norm() / exact.norm().clamp_min(1e-30))
    return error if error == error and error != float("inf") else 1e3


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Trainable parameters, buffers, gradients, modes and generator state are afterwards what they were."""
    originals = [*(p.detach() for p in model.parameters() if p.requires_grad), *model.buffers()]
    values = [(t, t.to("cpu", copy=True)) for t in originals]  # a device has no room to spare
    flags = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    modes = [(m, m.training) for m in model.modules()]
    state = torch.get_rng_state()
    devices = {p.device for p, _, _ in flags if p.is_cuda}
    device_states = [(device, torch.cuda.get_rng_state(device)) for device in devices]
    for p, _, _ in flags:
        p.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, was in values:
                tensor.copy_(was)
        for p, required, grad in flags:
            p.requires_grad_(required)
            p.grad = grad
        for m, training in modes:
            m.training = training
        torch.set_rng_state(state)
        for device, of_device in device_states:
            torch.cuda.set_rng_state(of_device, device)
