"""Coded weights that stay numbers where the budget allows: chosen, kept in every step, resumed, loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from s2a_core import pipeline
from s2a_core.compression import compress, narrow_weights, prepare_frozen_weights
from s2a_core.compression.frozen import plain_state_dict, put_back
from s2a_core.inference import load_run
from s2a_core.operators.narrow import NarrowWeight
from s2a_core.pipeline import RunRequest
from s2a_core.planner import Planner
from s2a_core.planning.types import Plan
from s2a_core.prepare import prepare
from s2a_core.storage import StoragePolicy
from tests.s2a_core.compression.models import small_vit
from tests.s2a_core.runs import few_digits, pause_in_the_second_step

FC1, FC2 = "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight"


def formats(model: nn.Module) -> dict[str, str]:
    return {name: p.codes.format for name, p in model.named_parameters() if isinstance(p, NarrowWeight)}


def test_some_weights_stay_numbers_until_a_plan_codes_them() -> None:
    model = small_vit().requires_grad_(False)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    prepare_frozen_weights(model, "keep", "int8", [FC1, FC2])
    first = model.get_parameter(FC1)
    assert {name for name, one in formats(model).items() if one == "float"} == {FC1, FC2}
    assert torch.equal(first.decoded(), before[FC1])  # type: ignore[operator]
    assert prepare_frozen_weights(model, "keep", "int8", [FC1, FC2]) == 0
    assert model.get_parameter(FC1) is first
    with compress(model, StoragePolicy(weight_format="int8", wide_weights=(FC1,))):
        pass
    assert {name for name, one in formats(model).items() if one == "float"} == {FC1}
    prepare_frozen_weights(model, "bf16", "int8", [FC1])
    assert model.get_parameter(FC1).nbytes == 2 * before[FC1].numel()
    assert torch.equal(plain_state_dict(model)[FC1], before[FC1].bfloat16())


def test_weights_are_put_back_in_the_dtype_of_their_codes_and_where_they_are_shared() -> None:
    model = small_vit().requires_grad_(False)
    model.blocks[1].mlp.fc1.weight = model.blocks[0].mlp.fc1.weight  # type: ignore[union-attr]
    numbers = {FC1: model.get_parameter(FC1), "blocks.0.attn.qkv.bias": model.get_parameter("blocks.0.attn.qkv.bias")}
    narrow_weights(model, "nf4")
    model.to(torch.bfloat16)
    put_back(model, numbers)
    assert model.get_parameter(FC1) is model.blocks[1].mlp.fc1.weight  # type: ignore[union-attr]
    assert torch.equal(model.get_parameter(FC1).decoded(), numbers[FC1].bfloat16())  # type: ignore[operator]
    assert formats(model)[FC2] == "nf4"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of profiles, which both runs need."""
    return tmp_path_factory.mktemp("profiles")


def mixed_plan(monkeypatch: pytest.MonkeyPatch, output: Path, cache: Path) -> tuple[Planner, Plan]:
    """A planner and its plan at a budget between those that all codes and all numbers need."""
    monkeypatch.setattr("s2a_core.prepare.open_dataset", lambda *args, **options: few_digits())
    request = RunRequest("s2a_tiny", "digits", 1, output=output, adapter="bias", epochs=2, batch_size=8, device="cpu")
    planner = Planner(request, cache)
    numbers, codes = (planner._smallest_of(planner.profile(one)) for one in planner.candidates[1:])
    planner.request = replace(request, budget_bytes=(numbers + codes) // 2)
    return planner, planner.plan()


def test_between_the_smallest_budgets_of_codes_and_numbers_the_worst_weights_stay_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    planner, plan = mixed_plan(monkeypatch, tmp_path, cache)
    candidate = planner.candidate_of(plan)
    profile = planner.profile(candidate)
    assert plan.weight_format == "int8"
    assert 0 < len(plan.wide_weights) < len(profile.weights)
    of_all = sum(weight.gradient_error**2 for weight in profile.weights) ** 0.5
    assert plan.predicted.weight_error < of_all
    wide_bytes = sum(w.wide_bytes for w in profile.weights if w.name in plan.wide_weights)
    strict = replace(candidate, is_mixed=False)
    all_coded = planner.plan(among=[strict])
    assert all_coded.wide_weights == ()
    assert plan.predicted.breakdown["weights"] == all_coded.predicted.breakdown["weights"] + wide_bytes
    assert candidate.error(plan) <= candidate.error(all_coded)

    verified = planner.verify(plan)
    assert verified.measured_peak_bytes <= verified.plan.predicted.peak_bytes <= plan.budget_bytes
    assert verified.measured_peak_bytes == pytest.approx(plan.predicted.peak_bytes, rel=0.03)
    model = planner.prepared_for(verified.plan).model
    assert {name for name, one in formats(model).items() if one == "float"} == set(verified.plan.wide_weights)

    tighter = planner.tighter(verified.plan, wide_bytes // 2)
    assert set(tighter.wide_weights) < set(plan.wide_weights)
    assert planner.prepared_for(tighter).model is model  # no second one: its steps code the others in place
    assert Plan.from_json(plan.to_json()) == plan


def test_a_mixed_run_goes_on_to_the_bit_and_is_loaded_with_the_values_it_trained_beside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    planner, plan = mixed_plan(monkeypatch, tmp_path / "whole", cache)
    request = replace(planner.request, plan=plan)
    whole = pipeline.run(request)
    assert whole["within_budget"]
    assert set(whole["wide_weights"]) == set(plan.wide_weights)
    assert f"int8 weights but for {len(plan.wide_weights)}" in (tmp_path / "whole" / "report.html").read_text()
    cut = replace(request, output=tmp_path / "cut")
    pause_in_the_second_step(cut)
    resumed = pipeline.run(replace(cut, plan=None, resume=True))
    assert resumed["step_losses"] == whole["step_losses"]

    loaded = load_run(tmp_path / "whole").model
    beside = prepare(replace(request, weight_format="int8"), wide_weights=plan.wide_weights).model
    for name, kept_as in formats(beside).items():
        decoded = beside.get_parameter(name).decoded()  # type: ignore[operator]
        expected = decoded.bfloat16().float() if kept_as == "float" else decoded
        assert torch.equal(loaded.get_parameter(name), expected.bfloat16().float()), name
