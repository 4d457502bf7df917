"""The pipeline refuses what cannot work before it loads a model, and trains what fits the budget best."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s2a_core import pipeline
from s2a_core.errors import BadAdapter, BadDataset, InvalidInput, PlanMissed, StaleProfile, UnknownModel
from s2a_core.models import load_model
from s2a_core.pipeline import RunRequest
from s2a_core.planner import Planner
from s2a_core.planning import Plan
from s2a_core.prepare import prepare
from s2a_core.profiling import measure
from s2a_core.recovery import train_within
from s2a_core.resume import keep_plan
from s2a_core.train.checkpoint import save_checkpoint
from s2a_core.train.types import OnEvent, PauseTraining
from tests.s2a_core.runs import few_digits, hand_plan


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    good = {"model": "s2a_tiny", "data": "digits", "budget_bytes": 2**28, "output": tmp_path / "out"}
    for change, error in (
        ({"model": "nosuch"}, UnknownModel),
        ({"data": str(tmp_path / "none")}, BadDataset),
        ({"adapter": "vpt"}, BadAdapter),
        ({"batch_size": 0}, InvalidInput),
        ({"output": None}, InvalidInput),
        ({"data": None}, InvalidInput),
        ({"budget_bytes": 0}, InvalidInput),
    ):
        with pytest.raises(error):
            pipeline.run(RunRequest(**{**good, **change}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "small", "large"), [("s2a_tiny", 2, 2), ("convnext_atto", 4, 3), ("resnet10t", 4, 3)])
def test_convolutions_and_small_models_are_profiled_with_more_samples(
    name: str, small: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(name, "none", 10)
    assert measure.profile_samples(model) == small
    monkeypatch.setattr(measure, "LARGE_MODEL", 1000)
    assert measure.profile_samples(model) == large


@pytest.fixture
def request_of_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    """Six steps of biases."""
    monkeypatch.setattr("s2a_core.prepare.open_dataset", lambda *args, **options: few_digits())
    return RunRequest("s2a_tiny", "digits", output=tmp_path / "out", adapter="bias", epochs=2)


def plan_for(request: RunRequest) -> Plan:
    """A plan of its model, everything exact, made without a profile."""
    prepared = prepare(request)
    return replace(hand_plan(str(prepared.spec)), fingerprint=prepared.fingerprint)


def test_a_given_plan_brings_its_budget_and_is_not_trained_outside_of_it(request_of_digits: RunRequest) -> None:
    made = plan_for(request_of_digits)
    report = pipeline.run(replace(request_of_digits, plan=made))
    assert (report["budget_bytes"], report["batch_size"], report["within_budget"]) == (2**28, 16, True)
    small = replace(made, budget_bytes=2**20)
    said: list[dict[str, Any]] = []
    with pytest.raises(PlanMissed, match=r"took .* MiB in real steps; its budget is 1.0 MiB: plan again"):
        pipeline.run(replace(request_of_digits, plan=small), said.append)
    assert [event["name"] for event in said if event["type"] == "phase"][-1] == "verifying"


def test_a_resumed_run_goes_on_with_the_plan_of_its_checkpoint(
    request_of_digits: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan_for(request_of_digits)
    whole = pipeline.run(replace(request_of_digits, plan=made))
    cut = replace(request_of_digits, output=request_of_digits.output / "cut", budget_bytes=made.budget_bytes)
    tighter = replace(made, micro_batch=4, accumulation=4)

    def run_out(model: Any, data: Any, plan: Plan, again: Any, config: Any, output: Path, tell: OnEvent) -> Any:
        tell({"type": "plan", "plan": tighter.to_json()})

        def pause(event: dict[str, Any]) -> None:
            if event.get("step") == 2:
                raise PauseTraining

        return train_within(model, data, tighter, again, config, output, pause)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "train_within", run_out)
        with pytest.raises(PauseTraining):
            pipeline.run(replace(cut, plan=made))
    for name in ("_measure", "plan", "verify"):
        monkeypatch.setattr(Planner, name, None)  # a resumed run measures and plans nothing
    said: list[dict[str, Any]] = []
    report = pipeline.run(replace(cut, resume=True), said.append)
    assert [event["step"] for event in said if event["type"] == "step"] == [3, 4, 5, 6]
    assert report["micro_batch"] == 4
    assert f"--plan {cut.output}/plan.json" in report["command"]
    assert report["step_losses"] == pytest.approx(whole["step_losses"], rel=1e-4)


def test_a_checkpoint_of_another_model_is_told_from_the_plan_beside_it(request_of_digits: RunRequest) -> None:
    assert request_of_digits.output is not None
    save_checkpoint(request_of_digits.output, {})
    keep_plan(request_of_digits.output, hand_plan().to_json())
    with pytest.raises(StaleProfile, match="use another --output"):
        pipeline.run(replace(request_of_digits, resume=True, budget_bytes=2**28))


def test_a_cnn_trains_all_weights_where_they_fit_and_the_modules_of_auto_below(tmp_path: Path) -> None:
    request = RunRequest(
        "test_resnet", "digits", 2**28, output=tmp_path / "out", weights="none", image_size=32, batch_size=256,
        epochs=1, precision="fp32", profile_cache=tmp_path / "profiles",
    )  # fmt: skip
    report = pipeline.run(request)
    assert (report["adapter"]["kinds"], report["within_budget"]) == (["full"], True)
    made = Planner(request).plan()
    assert made.adapter == "full"
    made = Planner(request).plan(made.alternatives[0].min_feasible_budget_bytes * 97 // 100)
    assert made.adapter == "bias,norm,side"
    assert "full in fp32 needs at least" in made.adapter_reason


def test_a_plan_leaves_room_for_the_average_of_the_weights(tmp_path: Path) -> None:
    request = RunRequest(
        "s2a_tiny", "digits", 2**28, weights="none", adapter="full", precision="fp32", profile_cache=tmp_path
    )
    state = Planner(request).profile().state_bytes
    made = [Planner(replace(request, ema_decay=decay)).plan() for decay in (None, 0.9)]
    assert made[1].predicted.breakdown["average"] == made[0].predicted.breakdown["best_state"] == state
    smallest = [plan.min_feasible_budget_bytes or 0 for plan in made]
    assert smallest[1] - smallest[0] == pytest.approx(1.015 * state, rel=0.01)


def test_a_run_that_fails_in_its_report_is_reported_without_training_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RunRequest(
        "s2a_tiny", "digits", 2**28, output=tmp_path / "out", adapter="bias", batch_size=256, epochs=1,
        precision="fp32", profile_cache=tmp_path / "profiles",
    )  # fmt: skip
    trained: list[Any] = []

    def full_disk(*args: Any, result: Any, **kwargs: Any) -> None:
        trained.append(result)
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_outputs", full_disk)
        with pytest.raises(OSError, match="no space"):
            pipeline.run(request)
    events: list[dict[str, Any]] = []
    report = pipeline.run(replace(request, resume=True), events.append)
    assert not any(event["type"] == "step" for event in events)
    assert report["accuracy"] == trained[0].accuracy
    assert report["confusion"] == [list(row) for row in trained[0].confusion]
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
