"""Training learns, stays metered, resumes with the numbers of an uninterrupted run, accumulates, stops and averages."""

import dataclasses
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.datasets import ImageDataset, ImageSplit, Sample
from s2a_core.errors import Diverged
from s2a_core.models import load_model
from s2a_core.train import PauseTraining, TrainConfig, TrainResult, loop, train
from s2a_core.train.evaluate import Evaluation, evaluate
from s2a_core.train.images import evaluation_transform
from tests.assertions import assert_close
from tests.s2a_core.runs import few_digits, hand_plan
from tests.s2a_core.train.interrupted import shades


class StopHere(Exception):
    """Raised by an event to interrupt a run."""


def run(
    output: Path,
    config: TrainConfig,
    *,
    stop: tuple[str, int] | None = None,
    error: type[Exception] = StopHere,
    micro_batch: int = 8,
    data: ImageDataset | None = None,
) -> TrainResult:
    """Train s2a_tiny's biases. stop: raise `error` at the epoch or step event of this number."""
    torch.manual_seed(0)
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias",)))

    def follow(event: dict[str, Any]) -> None:
        if stop is not None and event["type"] == stop[0] and event[stop[0]] == stop[1]:
            raise error

    return train(model, data or few_digits(), hand_plan(micro_batch=micro_batch), config, output, follow)


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    config = TrainConfig(epochs=3)
    whole = run(tmp_path / "whole", config)
    with pytest.raises(StopHere):
        run(tmp_path / "cut", config, stop=("epoch", 1))
    resumed = run(tmp_path / "cut", dataclasses.replace(config, resume=True))
    assert resumed.step_losses == whole.step_losses
    assert all(torch.equal(resumed.state_dict[k], v) for k, v in whole.state_dict.items())
    assert whole.step_losses[-1] < whole.step_losses[0]
    assert whole.measured_peak_bytes > 2**20
    assert sum(map(sum, whole.confusion)) == 24


def test_a_checkpoint_whose_rank_is_a_number_goes_on(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", TrainConfig(epochs=2))
    with pytest.raises(StopHere):
        run(tmp_path / "cut", TrainConfig(epochs=2), stop=("epoch", 1))
    path = tmp_path / "cut" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["best"][0] = state["best"][0][0]
    torch.save(state, path)
    resumed = run(tmp_path / "cut", TrainConfig(epochs=2, resume=True))
    assert (resumed.step_losses, resumed.best_epoch) == (whole.step_losses, whole.best_epoch)


def test_the_timeline_of_a_step_names_its_phases(tmp_path: Path) -> None:
    result = run(tmp_path, TrainConfig(epochs=2), micro_batch=8)
    phases = [phase for phase, _ in itertools.groupby(phase for _, _, phase in result.memory_timeline) if phase]
    assert phases == ["forward", "backward"] * (len(phases) // 2) + ["optimizer"]
    assert len(phases) == 5, "the metered step has two micro-batches"
    assert max(size for _, size, phase in result.memory_timeline if phase) <= result.measured_peak_bytes
    highest = max(result.memory_timeline, key=lambda point: point[1])
    assert highest[2] in ("forward", "backward")


def test_a_paused_run_goes_on_within_the_epoch(tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, ema_decay=0.8)
    whole = run(tmp_path / "whole", config)
    with pytest.raises(PauseTraining):
        run(tmp_path / "cut", config, stop=("step", 2), error=PauseTraining)
    resumed = run(tmp_path / "cut", dataclasses.replace(config, resume=True))
    assert resumed.step_losses == whole.step_losses
    assert resumed.history[0]["train_loss"] == whole.history[0]["train_loss"]
    assert all(torch.equal(resumed.state_dict[k], v) for k, v in whole.state_dict.items())


def test_a_finished_run_is_kept_and_gives_its_result_again_without_a_step(tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, ema_decay=0.8)
    whole = run(tmp_path, config)
    again = run(tmp_path, dataclasses.replace(config, resume=True), stop=("step", 1))
    for name in ("accuracy", "best_epoch", "confusion", "mistakes", "step_losses", "history", "measured_peak_bytes"):
        assert getattr(again, name) == getattr(whole, name)
    assert all(torch.equal(again.state_dict[k], v) for k, v in whole.state_dict.items())


def test_the_model_ends_with_the_statistics_of_its_best_epoch(tmp_path: Path) -> None:
    plan, data = hand_plan("full"), few_digits()
    for is_resumed in (False, True):
        torch.manual_seed(0)
        model = add_adapters(load_model("test_resnet", "none", 10), AdapterSpec(("full",)))
        config = TrainConfig(epochs=3, lr=0.1, resume=is_resumed)
        result = train(model, data, plan, config, tmp_path, lambda event: None)
        judged = evaluate(model, data.val.with_transform(evaluation_transform(result.data_config)), plan, 10)
        assert result.best_epoch < 3
        assert (judged.loss, judged.accuracy) == (result.history[result.best_epoch - 1]["val_loss"], result.accuracy)
        assert result.confusion == judged.confusion
        assert "conv1.1.running_mean" in result.state_dict


@pytest.mark.parametrize("micro_batch", [8, 16])
def test_one_sample_left_over_is_no_batch_to_estimate_from(micro_batch: int, tmp_path: Path) -> None:
    """Maps of test_resnet are single values at 32 pixels, which BatchNorm refuses of one sample."""
    model = add_adapters(load_model("test_resnet", "none", 10), AdapterSpec(("full",)))
    plan = hand_plan("full", micro_batch=micro_batch)
    result = train(model, few_digits(17, 10), plan, TrainConfig(epochs=1), tmp_path, lambda event: None)
    assert len(result.step_losses) == 2
    assert int(result.state_dict["conv1.1.num_batches_tracked"]) == 16 // micro_batch
    assert model.get_parameter("conv1.0.weight").isfinite().all()


def test_accumulation_is_the_large_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First gradients and all losses; later weights are no measure, for Adam makes steps of rounding noise too."""
    gradients: list[torch.Tensor] = []
    step = torch.optim.AdamW.step

    def recorded(optimizer: torch.optim.AdamW, closure: None = None) -> None:
        grads = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        gradients.append(torch.cat(grads))
        step(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    runs = {size: run(tmp_path / str(size), TrainConfig(epochs=1), micro_batch=size) for size in (16, 4, 5)}
    steps = len(gradients) // len(runs)
    for number, size in enumerate((4, 5), 1):
        assert_close(gradients[number * steps], gradients[0], rel=1e-5)
        assert runs[size].step_losses == pytest.approx(runs[16].step_losses, rel=1e-3)


def test_training_stops_when_patience_ends_and_keeps_the_best(tmp_path: Path) -> None:
    result = run(tmp_path, TrainConfig(epochs=6, lr=1e-9, patience=1, label_smoothing=0.0))
    assert result.epochs == len(result.history) < 6
    assert result.accuracy == max(row["val_accuracy"] for row in result.history)
    assert result.history[-1]["epoch"] > result.best_epoch


def test_epochs_between_evaluations_are_not_evaluated(tmp_path: Path) -> None:
    result = run(tmp_path, TrainConfig(epochs=3, evaluate_every=2))
    assert [row["val_accuracy"] == row["val_accuracy"] for row in result.history] == [False, True, True]


def test_the_first_evaluation_is_metered_whichever_epoch_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(*args: Any) -> Evaluation:
        assert torch.zeros(2**25).numel()
        return evaluate(*args)

    monkeypatch.setattr(loop, "evaluate", large)
    assert run(tmp_path, TrainConfig(epochs=2, evaluate_every=2)).measured_peak_bytes > 4 * 2**25


def test_the_measured_peak_has_the_average_and_the_best_state_beside_a_step(tmp_path: Path) -> None:
    def peak(epochs: int, ema_decay: float | None = None) -> int:
        model, config = load_model("s2a_tiny", num_classes=10), TrainConfig(epochs=epochs, ema_decay=ema_decay)
        return train(model, few_digits(), hand_plan("full"), config, tmp_path, lambda event: None).measured_peak_bytes

    weights = sum(p.nbytes for p in load_model("s2a_tiny", num_classes=10).parameters())
    assert peak(2) - peak(1) == pytest.approx(weights, rel=0.1)
    assert peak(2, 0.5) - peak(2) == pytest.approx(weights, rel=0.1)


def test_ten_thousand_tiny_files_start_within_five_seconds(tmp_path: Path) -> None:
    few = shades()
    sources = itertools.cycle(few.train.samples)
    many = tuple(Sample(f"{i}.bmp", next(sources).source, i % 10) for i in range(10_000))
    data = dataclasses.replace(few, train=ImageSplit(many))
    began = time.process_time()
    with pytest.raises(StopHere):
        run(tmp_path, TrainConfig(epochs=1), stop=("step", 1), data=data)
    assert time.process_time() - began < 5


def test_training_stops_at_the_first_loss_that_is_not_finite_and_goes_on_at_a_smaller_rate(tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, lr=1e30)
    with pytest.raises(Diverged, match=r"loss of step \d+ is (nan|inf).*smaller --lr") as raised:
        run(tmp_path, config)
    assert raised.value.exit_code == 4
    with pytest.raises(Diverged):  # from a checkpoint that can be read, with finite weights
        run(tmp_path, dataclasses.replace(config, resume=True))
    result = run(tmp_path, dataclasses.replace(config, resume=True, lr=1e-3))
    whole = run(tmp_path / "whole", dataclasses.replace(config, lr=1e-3))
    assert result.step_losses == whole.step_losses
    assert result.accuracy == whole.accuracy


def test_no_checkpoint_is_written_of_weights_that_diverged(tmp_path: Path) -> None:
    """Pausing and the clock ask for one between an update and the next loss."""
    config = TrainConfig(epochs=2, lr=1e30)
    with pytest.raises(Diverged):
        run(tmp_path / "paused", config, stop=("step", 1), error=PauseTraining)
    with pytest.raises(Diverged):
        run(tmp_path / "clock", dataclasses.replace(config, checkpoint_s=0.0))
    for directory in (tmp_path / "paused", tmp_path / "clock"):
        state = torch.load(directory / "checkpoint.pt", weights_only=True)
        assert state["position"][1] == 0
        assert all(tensor.isfinite().all() and tensor.abs().max() < 1e6 for tensor in state["model"].values())


def test_weights_that_are_not_finite_are_said_to_be(tmp_path: Path) -> None:
    model = load_model("s2a_tiny", num_classes=10)
    with torch.no_grad():
        model.get_parameter("head.weight").fill_(float("nan"))
    with pytest.raises(Diverged, match="step 1 is nan: the weights or images that training begins with"):
        train(model, few_digits(), hand_plan("full"), TrainConfig(epochs=1), tmp_path, lambda event: None)


def test_the_average_has_statistics_of_its_own_where_batch_norm_estimates_them(tmp_path: Path) -> None:
    model = add_adapters(load_model("test_resnet", "none", 10), AdapterSpec(("full",)))
    config = TrainConfig(epochs=1, ema_decay=0.9)
    result = train(model, few_digits(64, 20), hand_plan("full"), config, tmp_path, lambda event: None)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    means = {name for name in state["average"] if name.endswith("running_mean")}
    assert means
    for name in means:
        assert torch.equal(result.state_dict[name], state["average"][name])
        assert not torch.equal(result.state_dict[name], state["buffers"][name])


def test_losses_are_told_without_smoothing_as_in_validation(tmp_path: Path) -> None:
    """The first step's loss is of the same weights, whatever the labels it learns from."""
    plain = run(tmp_path / "plain", TrainConfig(epochs=1, label_smoothing=0.0))
    smooth = run(tmp_path / "smooth", TrainConfig(epochs=1, label_smoothing=0.4))
    assert smooth.step_losses[0] == pytest.approx(plain.step_losses[0], rel=1e-6)
    assert smooth.measured_peak_bytes == plain.measured_peak_bytes
    changed = [name for name, v in plain.state_dict.items() if not torch.equal(v, smooth.state_dict[name])]
    assert changed


def test_who_reads_the_images_does_not_change_what_a_checkpoint_is_of(tmp_path: Path) -> None:
    with pytest.raises(StopHere):
        run(tmp_path, TrainConfig(epochs=2), stop=("epoch", 1))
    resumed = run(tmp_path, TrainConfig(epochs=2, resume=True, workers=0))
    assert len(resumed.step_losses) == len(run(tmp_path / "whole", TrainConfig(epochs=2)).step_losses)
