"""AdamW with moments in 8 bits: near AdamW, as many bytes as promised, and a checkpoint that goes on to the bit."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from s2a_core import pipeline
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.errors import InvalidInput
from s2a_core.meter import PeakMeter, live_bytes
from s2a_core.models import load_model
from s2a_core.pipeline import RunRequest
from s2a_core.planning import plan
from s2a_core.planning.overhead import overhead_of
from s2a_core.planning.replan import Replanner
from s2a_core.prepare import prepare
from s2a_core.profiling import profile
from s2a_core.storage import Optimizer
from s2a_core.train.optimizers import coded_cost, make_adamw, round_at_random, step_in_backward
from s2a_core.verify import verify
from tests.assertions import assert_close, relative_rms
from tests.fakegpu.double import FakeDevices
from tests.s2a_core.runs import few_digits, hand_plan, pause_in_the_second_step

pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install s2a[optimizers]")


def trained() -> nn.Module:
    """A matrix of a size that is no multiple of a block, one that is, and a bias."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(131, 97), nn.Linear(97, 64))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def test_it_moves_weights_as_adamw_does() -> None:
    start, moved = trained(), []
    for name in ("adamw", "adamw8bit"):
        model = copy.deepcopy(start)
        optimizer = make_adamw(name, [{"params": list(model.parameters()), "weight_decay": 0.01}], 1e-2)
        torch.manual_seed(1)
        for _ in range(5):
            step(model, optimizer)
        moved.append(model[0].weight - start[0].weight)  # type: ignore[operator]
    assert 0 < relative_rms(moved[1], moved[0]) < 0.05


def test_its_state_and_step_take_what_is_promised() -> None:
    model = trained()
    optimizer = make_adamw("adamw8bit", [{"params": list(model.parameters())}], 1e-3)
    cost = coded_cost(list(model.parameters()))
    step(model, optimizer)
    assert live_bytes(optimizer) == pytest.approx(cost.state_bytes, abs=16)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    with PeakMeter() as meter:
        optimizer.step()
    assert 0.5 * cost.step_bytes < meter.peak_bytes <= cost.step_bytes + 4096


def test_stepping_in_backward_trains_the_same_without_the_whole_gradient() -> None:
    torch.manual_seed(0)
    start, x = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8))), torch.randn(2, 256)
    weights, peaks = [], []
    for is_in_backward in (False, True):
        model = copy.deepcopy(start)
        after: list[torch.optim.Optimizer] = []
        if is_in_backward:
            step_in_backward(model.parameters(), lambda one: make_adamw("adamw", [{"params": one}], 1e-2))
        else:
            after = [make_adamw("adamw", [{"params": list(model.parameters())}], 1e-2)]
        for _ in range(3):
            with PeakMeter() as meter:
                model(x).square().sum().backward()
            for optimizer in after:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        peaks.append(meter.peak_bytes)
    assert torch.equal(*weights)
    one_layer = 4 * 256 * 256
    assert peaks[0] >= 8 * one_layer
    assert peaks[1] <= 4 * one_layer  # its gradient and the update's temporaries


def test_rounding_at_random_keeps_the_mean_and_what_bf16_has() -> None:
    values = torch.tensor([1.001, -1.001, 1e-3, -300.7, 0.0, 1.5, torch.inf, -torch.inf])
    rounded = torch.empty(20_000, len(values), dtype=torch.bfloat16)
    round_at_random(values.expand_as(rounded).contiguous(), rounded)
    assert all(len(column.unique()) <= 2 for column in rounded.T)
    assert_close(rounded[:, :4].float().mean(0), values[:4], rel=1e-3)
    assert torch.equal(rounded[0, 4:].float(), values[4:])
    round_at_random(torch.tensor([torch.nan]), one := torch.zeros(1, dtype=torch.bfloat16))
    assert one.isnan().all()


@pytest.mark.parametrize("name", ["adamw", "adamw8bit"])
def test_weights_in_bf16_take_steps_smaller_than_their_spacing(name: Optimizer) -> None:
    """Steps of 1e-4 on weights of 1, whose neighbours are 2^-8 and 2^-7 away: rounded to the nearest they stay."""
    model = nn.Linear(128, 64).bfloat16()
    with torch.no_grad():
        model.weight.fill_(1)
    group = {"weight_decay": 0.0}
    (optimizer, _) = step_in_backward(
        model.parameters(), lambda one: make_adamw(name, [{"params": one, **group}], 1e-4)
    )
    for _ in range(20):
        model(torch.ones(1, 128, dtype=torch.bfloat16)).sum().backward()
    assert 1 - model.weight.float().mean().item() == pytest.approx(20e-4, rel=0.1)
    assert all(parameter.grad is None for parameter in model.parameters())
    states = [
        t for t in optimizer.state[optimizer.param_groups[0]["params"][0]].values() if isinstance(t, torch.Tensor)
    ]
    assert max(t.element_size() for t in states if t.numel() == model.weight.numel()) == (4 if name == "adamw" else 1)
    assert optimizer.param_groups[0]["params"][0].numel() == 0  # the fp32 stand-in is there in its step alone


def test_without_the_library_the_request_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(InvalidInput, match=r"pip install 's2a\[optimizers\]'"):
        prepare(RunRequest("nosuch", optimizer="adamw8bit"))


def test_a_plan_counts_it_and_real_steps_stay_inside() -> None:
    model = add_adapters(load_model("s2a_tiny", "none", 10), AdapterSpec.parse("full"))
    found = profile(model, 32, 4, "fp32", sensitivity_s=0.0, refine_s=0.0, has_baselines=False)
    made = {}
    for name in ("adamw", "adamw8bit"):
        overhead = overhead_of("cpu", found.state_bytes, False, optimizer=name)
        made[name] = plan(found, 2**30, 8, overhead=overhead)
        assert made[name].optimizer == name
        verified = verify(model, made[name], torch.randn(4, 3, 32, 32), torch.arange(4), Replanner(found, overhead))
        assert verified.measured_peak_bytes <= verified.plan.predicted.peak_bytes
        assert verified.measured_peak_bytes == pytest.approx(made[name].predicted.peak_bytes, rel=0.03)
    states = [one.predicted.breakdown["optimizer"] for one in made.values()]
    assert states[0] == 8 * found.trainable_params
    assert states[1] < 0.3 * states[0]


def test_a_run_goes_on_to_the_bit_and_not_with_another_optimizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2a_core.prepare.open_dataset", lambda *args, **options: few_digits())
    request = RunRequest("s2a_tiny", "digits", output=tmp_path / "whole", adapter="full", epochs=2, device="cpu")
    made = replace(hand_plan("full"), optimizer="adamw8bit", fingerprint=prepare(request).fingerprint)
    whole = pipeline.run(replace(request, plan=made))
    assert whole["optimizer"] == "adamw8bit"
    cut = replace(request, output=tmp_path / "cut")
    pause_in_the_second_step(replace(cut, plan=made))
    resumed = pipeline.run(replace(cut, resume=True))
    assert resumed["step_losses"] == whole["step_losses"]
    with pytest.raises(InvalidInput, match="the plan is for adamw8bit, not adamw"):
        pipeline.run(replace(cut, plan=made, optimizer="adamw"))


@pytest.mark.fakegpu
def test_adamws_step_takes_nothing_on_cuda(fake_devices: Callable[..., FakeDevices]) -> None:
    code = """
import json, torch
from s2a_core.train.optimizers import adamw_step_bytes, make_adamw
trained = [torch.nn.Parameter(torch.zeros(512, 512 * (1 + i % 2), device="cuda")) for i in range(6)]
optimizer = make_adamw("adamw", [{"params": trained[:3]}, {"params": trained[3:], "weight_decay": 0.1}], 1e-3)
for _ in range(2):
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    optimizer.step()
print(json.dumps([torch.cuda.max_memory_allocated() - before, adamw_step_bytes(trained)]))
"""
    outcome = fake_devices().python(code)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.document == [0, 0]
