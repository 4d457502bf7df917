"""A run that is out of memory goes on from its last step with a tighter plan, and says so when nothing is left."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from s2a_core import recovery
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.errors import OutOfMemory
from s2a_core.models import load_model
from s2a_core.planning.types import Plan
from s2a_core.recovery import train_within
from s2a_core.train import TrainConfig, TrainResult, loop
from s2a_core.train.recipe import WeightAverage
from tests.s2a_core.runs import few_digits, hand_plan

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


def run(
    output: Path,
    failures: list[int],
    error: Exception,
    config: TrainConfig = TrainConfig(epochs=2),
    name: str = "s2a_tiny",
    adapter: str = "bias",
    margin_bytes: int = 0,
    num_train: int = 48,
    tighter: Callable[[Plan, int], Plan] | None = None,
) -> tuple[TrainResult, Plan, list[dict[str, Any]]]:
    """Train while the forward passes numbered in `failures` raise `error`."""
    torch.manual_seed(0)
    model = add_adapters(load_model(name, None, 10), AdapterSpec((adapter,)), 32)
    plan = hand_plan(adapter)
    plan = dataclasses.replace(plan, predicted=dataclasses.replace(plan.predicted, breakdown={"margin": margin_bytes}))
    calls, events = iter(range(10**6)), []

    def fail(module: torch.nn.Module, args: Any) -> None:
        if module.training and next(calls) in failures:
            raise error

    list(model.modules())[-1].register_forward_pre_hook(fail)
    again = tighter or (lambda missed, margin: hand_plan(adapter))
    return (*train_within(model, few_digits(num_train), plan, again, config, output, events.append), events)


def assert_same(one: TrainResult, other: TrainResult) -> None:
    """The same numbers and weights to the bit."""
    assert one.step_losses == other.step_losses
    assert [row["val_loss"] for row in one.history] == [row["val_loss"] for row in other.history]
    assert all(torch.equal(one.state_dict[k], v) for k, v in other.state_dict.items())


def failing(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    """`function`, out of memory in its call of this number once its work is done."""
    calls = itertools.count()

    def call(*args: Any, **kwargs: Any) -> Any:
        found = function(*args, **kwargs)
        if next(calls) == number:
            raise ERRORS[0]
        return found

    return call


@pytest.mark.parametrize("error", ERRORS)
def test_a_run_out_of_memory_loses_no_step(error: Exception, tmp_path: Path) -> None:
    margins = []

    def tighter(missed: Plan, margin: int) -> Plan:
        margins.append(margin)
        return dataclasses.replace(hand_plan(), predicted=dataclasses.replace(hand_plan().predicted, peak_bytes=7))

    whole, plan, events = run(tmp_path / "whole", [], error)
    assert plan.predicted.peak_bytes != 7
    cut, plan, events = run(tmp_path / "cut", [3, 9], error, tighter=tighter)
    assert margins == [int(0.1 * 256 * 2**20), 2 * int(0.1 * 256 * 2**20)]
    assert plan.predicted.peak_bytes == 7
    assert cut.step_losses == whole.step_losses
    assert all(torch.equal(cut.state_dict[k], v) for k, v in whole.state_dict.items())
    assert sum("out of memory" in event.get("message", "") for event in events) == 2
    steps = [event["step"] for event in events if event["type"] == "step"]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("number", [0, 4])
@pytest.mark.parametrize("part", ["optimizer", "average"])
def test_no_step_is_taken_twice_where_its_update_was_out_of_memory(
    part: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(epochs=2, ema_decay=0.8)
    whole, _, _ = run(tmp_path / "whole", [], ERRORS[0], config)
    owner, name = (torch.optim.AdamW, "step") if part == "optimizer" else (WeightAverage, "update")
    monkeypatch.setattr(owner, name, failing(getattr(owner, name), number))
    assert_same(run(tmp_path / "cut", [], ERRORS[0], config)[0], whole)


@pytest.mark.parametrize("number", [0, 1])
def test_an_evaluation_out_of_memory_loses_no_epoch(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(epochs=2, ema_decay=0.8)
    whole, _, _ = run(tmp_path / "whole", [], ERRORS[0], config)
    monkeypatch.setattr(loop, "evaluate", failing(loop.evaluate, number))
    cut, _, events = run(tmp_path / "cut", [], ERRORS[0], config)
    assert_same(cut, whole)
    steps = [event["step"] for event in events if event["type"] == "step"]
    assert steps == sorted(set(steps))


def test_statistics_of_a_batch_out_of_memory_are_not_counted_twice(tmp_path: Path) -> None:
    whole, cut = (  # of 41 images the last micro-batch has one, which is not estimated from
        run(tmp_path / str(len(failures)), failures, ERRORS[0], name="test_resnet", adapter="full", num_train=41)[0]
        for failures in ([], [1, 13])
    )
    assert_same(cut, whole)


def test_a_checkpoint_that_lay_there_is_not_what_a_run_out_of_memory_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(epochs=2, ema_decay=0.8)
    whole, _, _ = run(tmp_path / "whole", [], ERRORS[0], config)
    run(tmp_path / "cut", [], ERRORS[0], dataclasses.replace(config, lr=0.5))
    monkeypatch.setattr(loop, "WeightAverage", failing(WeightAverage, 0))
    assert_same(run(tmp_path / "cut", [], ERRORS[0], config)[0], whole)


def test_what_the_first_plan_kept_free_stays_free(tmp_path: Path) -> None:
    margins = []
    run(
        tmp_path, [0, 1], ERRORS[0], margin_bytes=2**20,
        tighter=lambda missed, margin: margins.append(margin) or hand_plan(),
    )  # fmt: skip
    share = int(0.1 * hand_plan().budget_bytes)
    assert margins == [2**20 + share, 2**20 + 2 * share]


def test_a_plan_after_a_miss_fits_the_cap_of_a_process_that_gave_a_part_of_its_budget_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a plan of the whole budget would run out of memory once more under the same cap."""
    margins = []
    returned = 100 * 2**20
    cap = hand_plan().budget_bytes - returned
    monkeypatch.setattr(recovery, "device_memory", lambda device: SimpleNamespace(budget_bytes=cap))

    def tighter(missed: Plan, margin: int) -> Plan:
        margins.append(margin)
        predicted = dataclasses.replace(hand_plan().predicted, peak_bytes=cap + margin, breakdown={"margin": margin})
        return dataclasses.replace(hand_plan(), predicted=predicted)

    _, plan, _ = run(tmp_path, [0, 1], ERRORS[0], tighter=tighter)
    share = int(0.1 * cap)
    assert margins == [returned + share, returned + 2 * share]
    assert (plan.budget_bytes, plan.predicted.breakdown["margin"]) == (hand_plan().budget_bytes, 2 * share)
    assert plan.predicted.peak_bytes == cap + 2 * share


def test_what_never_fits_ends_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match=r"in 4 plans, the last with .* kept free"):
        run(tmp_path, list(range(100)), ERRORS[0])


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="something else"):
        run(tmp_path, [0], RuntimeError("something else"))
