"""A run that is out of memory goes on from its last step with a tighter plan, and says so when nothing is left."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from s2a_core import recovery
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.errors import OutOfMemory
from s2a_core.models import load_model
from s2a_core.planning.types import Plan
from s2a_core.profiling import Profile
from s2a_core.recovery import train_within
from s2a_core.train import TrainConfig, TrainResult
from tests.s2a_core.runs import few_digits, hand_plan

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


def run(output: Path, failures: list[int], error: Exception) -> tuple[TrainResult, Plan, list[dict[str, Any]]]:
    """Train while the forward passes numbered in `failures` raise `error`."""
    torch.manual_seed(0)
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias",)))
    calls, events = iter(range(10**6)), []

    def fail(module: torch.nn.Module, args: Any) -> None:
        if module.training and next(calls) in failures:
            raise error

    model.blocks[3].register_forward_pre_hook(fail)
    config = TrainConfig(epochs=2)
    profile = cast(Profile, None)
    return (*train_within(model, few_digits(), hand_plan(), lambda: profile, config, output, events.append), events)


@pytest.mark.parametrize("error", ERRORS)
def test_a_run_out_of_memory_loses_no_step(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    margins = []

    def tighter(profile: Profile, budget: int, batch: int, objective: str, margin: int) -> Plan:
        margins.append(margin)
        return dataclasses.replace(hand_plan(), predicted=dataclasses.replace(hand_plan().predicted, peak_bytes=7))

    monkeypatch.setattr(recovery, "make_plan", tighter)
    whole, plan, events = run(tmp_path / "whole", [], error)
    assert plan.predicted.peak_bytes != 7
    cut, plan, events = run(tmp_path / "cut", [3, 9], error)
    assert margins == [int(0.1 * 256 * 2**20), 2 * int(0.1 * 256 * 2**20)]
    assert plan.predicted.peak_bytes == 7
    assert cut.step_losses == whole.step_losses
    assert all(torch.equal(cut.state_dict[k], v) for k, v in whole.state_dict.items())
    assert sum("out of memory" in event.get("message", "") for event in events) == 2
    steps = [event["step"] for event in events if event["type"] == "step"]
    assert steps == sorted(set(steps))


def test_what_never_fits_ends_with_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "make_plan", lambda *args: hand_plan())
    with pytest.raises(OutOfMemory, match=r"in 4 plans, the last with .* kept free"):
        run(tmp_path, list(range(100)), ERRORS[0])


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="something else"):
        run(tmp_path, [0], RuntimeError("something else"))
