"""The pipeline refuses what cannot work before it loads a model, and trains what fits the budget best."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s2a_core import pipeline
from s2a_core.errors import BadAdapter, BadDataset, InvalidInput, UnknownModel
from s2a_core.models import load_model
from s2a_core.pipeline import RunRequest


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    good = {"model": "s2a_tiny", "data": "digits", "budget_bytes": 2**28, "output": tmp_path / "out"}
    for change, error in (
        ({"model": "nosuch"}, UnknownModel),
        ({"data": str(tmp_path / "none")}, BadDataset),
        ({"adapter": "vpt"}, BadAdapter),
        ({"batch_size": 0}, InvalidInput),
        ({"output": None}, InvalidInput),
        ({"data": None}, InvalidInput),
    ):
        with pytest.raises(error):
            pipeline.run(RunRequest(**{**good, **change}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "samples"), [("s2a_tiny", 2), ("convnext_atto", 3), ("resnet10t", 3)])
def test_large_models_are_profiled_with_fewer_samples(name: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(name, "none", 10)
    assert pipeline._samples(model) == pipeline.PROFILE_SAMPLES
    monkeypatch.setattr(pipeline, "LARGE_MODEL", 1000)
    assert pipeline._samples(model) == samples


def test_a_cnn_trains_all_weights_where_they_fit_and_the_modules_of_auto_below(tmp_path: Path) -> None:
    request = RunRequest(
        "test_resnet", "digits", 2**28, tmp_path / "out", weights="none", image_size=32, batch_size=256, epochs=1,
        precision="fp32", profile_cache=tmp_path / "profiles",
    )  # fmt: skip
    report = pipeline.run(request)
    assert (report["adapter"]["kinds"], report["within_budget"]) == (["full"], True)
    made = pipeline.make_plan(request)
    assert made.adapter == "full"
    made = pipeline.make_plan(replace(request, budget_bytes=made.min_feasible_budget_bytes * 97 // 100))
    assert made.adapter == "bias,norm,side"
    assert "full in fp32 needs at least" in made.adapter_reason


def test_a_plan_leaves_room_for_the_average_of_the_weights(tmp_path: Path) -> None:
    request = RunRequest(
        "s2a_tiny", "digits", 2**28, weights="none", adapter="full", precision="fp32", profile_cache=tmp_path
    )
    trained = pipeline.make_profile(request).trainable_params
    least = [pipeline.make_plan(replace(request, ema_decay=d)).min_feasible_budget_bytes for d in (None, 0.9)]
    assert least[1] - least[0] == 4 * trained


def test_a_run_that_fails_in_its_report_is_reported_without_training_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RunRequest(
        "s2a_tiny", "digits", 2**28, tmp_path / "out", adapter="bias", batch_size=256, epochs=1, precision="fp32",
        profile_cache=tmp_path / "profiles",
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
