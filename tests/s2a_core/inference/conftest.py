"""A finished run of a few steps."""

from pathlib import Path

import pytest
import torch

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.kinds import KINDS
from s2a_core.models import load_model
from s2a_core.outputs import write_outputs
from s2a_core.train import TrainConfig, train
from tests.s2a_core.runs import few_digits, hand_plan


def make_run(directory: Path, adapter: str) -> torch.nn.Module:
    """Train one epoch and write the outputs; the trained model."""
    spec, plan, data = AdapterSpec.parse(adapter), hand_plan(adapter), few_digits()
    model = add_adapters(load_model("s2a_tiny", num_classes=10), spec)
    result = train(model, data, plan, TrainConfig(epochs=1), directory, lambda event: None)
    request = {"model": "s2a_tiny", "data": "digits", "budget_bytes": plan.budget_bytes}
    write_outputs(directory, request=request, result=result, plan=plan, dataset=data, extra={"adapter": spec.to_json()})
    return model.eval()


@pytest.fixture(params=[*KINDS, "bias,prompt", "bias,side"])
def finished(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, torch.nn.Module, str]:
    """(directory, trained model, adapter)."""
    return tmp_path / "run", make_run(tmp_path / "run", request.param), request.param
