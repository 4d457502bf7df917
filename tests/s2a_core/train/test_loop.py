"""Training learns, stays metered, and resumes with the numbers of an uninterrupted run."""

from pathlib import Path

import pytest
import torch

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.models import load_model
from s2a_core.train import TrainConfig, TrainResult, train
from tests.s2a_core.runs import few_digits, hand_plan


class StopHere(Exception):
    """Raised by an event to interrupt a run."""


def run(output: Path, resume: bool = False, stop_after: int | None = None) -> TrainResult:
    torch.manual_seed(0)
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias",)))

    def follow(event: dict[str, object]) -> None:
        if event["type"] == "epoch" and event["epoch"] == stop_after:
            raise StopHere

    return train(model, few_digits(), hand_plan(), TrainConfig(epochs=3, resume=resume), output, follow)


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(StopHere):
        run(tmp_path / "cut", stop_after=1)
    resumed = run(tmp_path / "cut", resume=True)
    assert resumed.step_losses == whole.step_losses
    assert all(torch.equal(resumed.state_dict[k], v) for k, v in whole.state_dict.items())
    assert whole.step_losses[-1] < whole.step_losses[0]
    assert whole.measured_peak_bytes > 2**20
    assert sum(map(sum, whole.confusion)) == 24
