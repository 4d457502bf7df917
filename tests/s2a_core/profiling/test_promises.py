"""What a plan promises, held against independent meters on a real model: held bytes, the smallest budget, freshness."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from s2a_core import pipeline
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.amounts import parse_bytes
from s2a_core.compression import compress
from s2a_core.errors import BadAdapter, BadBudget, InfeasibleBudget, InvalidInput, StaleProfile
from s2a_core.meter import held_bytes
from s2a_core.planner import Planner
from s2a_core.planning import Plan, plan
from s2a_core.planning.memory import held_bytes as promised_bytes
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import Profile, profile
from s2a_core.profiling.runs import run_step
from s2a_core.requests import RunRequest
from s2a_core.storage import StoragePolicy
from s2a_core.verify import measured_peak, verify


def tight(profile: Profile, share: float, batch_size: int = 8) -> Plan:
    """The plan at a share of the way from the smallest budget to the exact plan's peak."""
    low = smallest_budget(profile, batch_size)
    high = plan(profile, 2**40, batch_size).predicted.peak_bytes
    return plan(profile, int(low + share * (high - low)), batch_size)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
def test_held_bytes_agree_with_an_independent_meter_at_batch_2(
    vit: nn.Module, vit_profile: Profile, share: float
) -> None:
    made = tight(vit_profile, share)
    x = torch.randn(2, 3, 32, 32)
    vit.train()
    session = compress(vit, made)  # which stores tables once in a process

    def forward() -> torch.Tensor:
        with session:
            return nn.functional.cross_entropy(vit(x), torch.zeros(2, dtype=torch.long))

    promised = promised_bytes(vit_profile, made.sites, 2)
    assert held_bytes(vit, forward, [x]) == pytest.approx(promised, rel=0.01, abs=64)


def test_a_tensor_that_a_site_without_codes_shares_is_counted_once() -> None:
    """GRN of ConvNeXt V2 takes the norm of what it then multiplies."""
    torch.manual_seed(0)
    model = timm.create_model("convnextv2_atto", depths=(1, 1, 1, 1), dims=(16, 16, 16, 16), num_classes=4)
    model = add_adapters(model, AdapterSpec(("bias",)), 32)
    found = profile(model, 32, 4, "fp32", has_baselines=False, sensitivity_s=0.0, refine_s=0.0)
    x, y = torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.long)
    step = run_step(model.train(), x, y, StoragePolicy(), "fp32", is_metered=True)
    assert promised_bytes(found, {}, 4) == pytest.approx(sum(step.bytes.values()), rel=0.01, abs=64)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_smallest_budget_trains_and_two_percent_less_is_refused(
    vit: nn.Module, vit_profile: Profile, batch_size: int
) -> None:
    smallest = smallest_budget(vit_profile, batch_size)
    images, labels = torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.long)
    made = plan(vit_profile, smallest, batch_size)
    ready = verify(vit, made, images, labels, Replanner(vit_profile))
    assert ready.measured_peak_bytes <= ready.plan.budget_bytes
    assert measured_peak(vit, ready.plan, images, labels) <= smallest
    with pytest.raises(InfeasibleBudget) as refused:
        plan(vit_profile, int(0.98 * smallest), batch_size)
    assert refused.value.min_feasible_budget_bytes == smallest
    assert refused.value.details["binding"] in made.predicted.breakdown


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_predicted_peak_is_not_two_percent_below_a_real_run_nor_five_above(
    vit: nn.Module, vit_profile: Profile, share: float
) -> None:
    """Above: what chunks of several samples take is told from one chunk that is the whole batch, which takes most."""
    made = tight(vit_profile, share)
    images, labels = torch.randn(8, 3, 32, 32), torch.zeros(8, dtype=torch.long)
    measured = measured_peak(vit, made, images, labels)
    assert 0.98 * measured <= made.predicted.peak_bytes <= 1.05 * measured


def test_a_plan_of_another_adapter_or_precision_is_refused(tmp_path: Path) -> None:
    request = {"model": "s2a_tiny", "data": "digits", "budget_bytes": 2**28, "output": tmp_path / "out", "epochs": 1}
    made = Planner(RunRequest(**{**request, "adapter": "head", "batch_size": 4})).plan()  # type: ignore[arg-type]
    for changed in ({"adapter": "bias"}, {"adapter": "head", "precision": "bf16"}):
        with pytest.raises(StaleProfile, match="plan again"):
            pipeline.run(RunRequest(**{**request, **changed, "plan": made}))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0", "-1GiB", "4 bananas", "GiB", "", "nan", "1e400GiB"])
def test_budgets_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(BadBudget):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "s2a_tiny", "batch_size": 0}, InvalidInput),
        ({"model": "s2a_tiny", "adapter": "magic"}, BadAdapter),
        ({"model": "levit_128s", "image_size": 100, "adapter": "bias"}, InvalidInput),
        ({"model": "levit_128s", "image_size": 100, "adapter": "auto"}, InvalidInput),
        ({"model": "vgg11", "image_size": 64, "adapter": "prompt"}, BadAdapter),
    ],
)
def test_bad_requests_are_refused_before_anything_is_measured(
    options: dict[str, object], error: type[InvalidInput]
) -> None:
    with pytest.raises(error):
        Planner(RunRequest(budget_bytes=2**30, num_classes=10, **options)).plan()  # type: ignore[arg-type]


def test_a_budget_below_the_weights_names_them() -> None:
    request = RunRequest(model="s2a_tiny", budget_bytes=2**18, num_classes=10, adapter="head", batch_size=4)
    with pytest.raises(InfeasibleBudget) as refused:
        Planner(request).plan()
    assert refused.value.details["binding"] == "weights"
