"""A verified plan kept its budget when tried; a miss makes the next one tighter; pairs are kept."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s2a_core.compression import compress
from s2a_core.errors import InfeasibleBudget, OutOfMemory
from s2a_core.planning import Plan, plan
from s2a_core.planning.overhead import CODE, overhead_of
from s2a_core.planning.pairs import recorded
from s2a_core.planning.peak import Peak
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import profile
from s2a_core.sizes import MIB
from s2a_core.storage import StoragePolicy
from s2a_core.train.mode import resting_modules, training_mode
from s2a_core.verify import measured_gradient_error, measured_peak, verify
from tests.s2a_core.profiling.conftest import small_vit

IMAGES, LABELS = torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.long)


def test_a_plan_that_misses_is_planned_again_tighter(tmp_path: Path) -> None:
    model = small_vit()
    found = profile(model, 32, 4, has_baselines=False, refine_s=0.0)
    first = plan(found, 3 * smallest_budget(found, 16), batch_size=16)
    peak = measured_peak(model, first, IMAGES, LABELS)
    verified = verify(model, first, IMAGES, LABELS, Replanner(found), tmp_path / "pairs.jsonl")
    assert verified.measured_peak_bytes <= verified.plan.budget_bytes
    assert verified.plan.measured_peak_bytes == pytest.approx(peak, rel=0.02)
    assert verified.plan.predicted.peak_bytes >= verified.measured_peak_bytes
    # A profile that promises half of what the model needs: the plan made from it does not fit at first.
    dishonest = replace(found, sites=tuple(replace(s, work={}) for s in found.sites))
    budget = int(peak * 0.9)
    low = plan(dishonest, budget, batch_size=16)
    try:
        verified = verify(model, low, IMAGES, LABELS, Replanner(dishonest), tmp_path / "pairs.jsonl")
        assert verified.measured_peak_bytes <= budget
    except InfeasibleBudget as refused:
        smallest = refused.min_feasible_budget_bytes
        assert smallest > budget
    assert len(recorded(tmp_path / "pairs.jsonl")) >= 2


def test_the_smallest_budget_that_is_told_survives_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_vit()
    found = profile(model, 32, 4, has_baselines=False, refine_s=0.0)
    budget = smallest_budget(found, 16)
    shares = iter((1.003, 1.004, 1.0045))  # what each round's plan takes of its prediction

    def missed(model: torch.nn.Module, plan: Plan, *batch: torch.Tensor) -> int:
        share = next(shares)
        taken = int(share * (plan.predicted.peak_bytes - plan.predicted.breakdown["margin"]))
        return max(taken, tight.budget_bytes + 1) if share < 1.0045 else taken  # two rounds miss, whatever they plan

    monkeypatch.setattr("s2a_core.verify.measured_peak", missed)
    tight = plan(found, budget, batch_size=16)
    tight = replace(tight, budget_bytes=tight.predicted.peak_bytes)
    verified = verify(model, tight, IMAGES, LABELS, Replanner(found))
    assert verified.measured_peak_bytes <= verified.plan.budget_bytes
    assert verified.rounds == 3
    with pytest.raises(InfeasibleBudget):
        plan(found, int(0.98 * budget), batch_size=16)


def test_the_gradient_of_a_verified_plan_is_compared_with_the_exact_one_where_that_fits() -> None:
    model = small_vit()
    found = profile(model, 32, 4, has_baselines=False, refine_s=0.0)
    images = torch.randn(4, 3, 32, 32)
    before = [tensor.clone() for tensor in (*model.parameters(), torch.get_rng_state())]
    coded = replace(Plan.uniform(found, 4, 16), budget_bytes=2**30)
    error = verify(model, coded, images, LABELS, Replanner(found)).plan.measured_gradient_error
    assert error is not None
    assert 0.3 < error / coded.predicted.gradient_error < 3
    assert all(torch.equal(*pair) for pair in zip(before, (*model.parameters(), torch.get_rng_state()), strict=True))
    assert error == pytest.approx(error_by_hand(model, coded, images), rel=1e-5)
    exact = plan(found, 2**30, batch_size=16)
    assert verify(model, exact, images, LABELS, Replanner(found)).plan.measured_gradient_error == pytest.approx(
        0.0, abs=1e-5
    )
    one = sum(Peak(found, 1).breakdown({}).values())
    for budget, fits in ((one, True), (one - 1, False)):
        error = measured_gradient_error(model, replace(coded, budget_bytes=budget), found, images, LABELS)
        assert (error is not None) == fits
    given = verify(model, replace(coded, measured_gradient_error=0.5), images, LABELS).plan
    assert given.measured_gradient_error == 0.5
    assert Plan.from_json(given.to_json()) == given


def error_by_hand(model: torch.nn.Module, coded: Plan, images: torch.Tensor) -> float:
    """What two plain steps of all four images show."""
    found = []
    for policy in (StoragePolicy(), coded.policy):
        copied = copy.deepcopy(model)
        training_mode(copied, resting_modules(copied, coded.adapter))
        torch.manual_seed(0)
        with compress(copied, policy):
            loss = torch.nn.functional.cross_entropy(copied(images), LABELS)
        loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in copied.parameters() if p.grad is not None]))
    return float((found[1] - found[0]).norm() / found[0].norm())


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_plan_that_runs_out_of_memory_has_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_vit()
    found = profile(model, 32, 4, has_baselines=False, refine_s=0.0)
    large = plan(found, 3 * smallest_budget(found, 16), batch_size=16)
    failures = [OUT_OF_MEMORY]

    def fail(module: torch.nn.Module, args: object) -> None:
        if failures:
            raise failures.pop()

    handle = model.register_forward_pre_hook(fail)
    verified = verify(model, large, IMAGES, LABELS, Replanner(found), tmp_path / "pairs.jsonl")
    assert verified.rounds == 2
    assert verified.measured_peak_bytes <= 0.9 * large.budget_bytes
    assert len(recorded(tmp_path / "pairs.jsonl")) == 1
    failures[:] = [OUT_OF_MEMORY] * 9
    for given in (Replanner(found), None):
        with pytest.raises(OutOfMemory, match=r"in real steps of the plan: CUDA .* Tried to allocate"):
            verify(model, large, IMAGES, LABELS, given)
    assert len(failures) == 5  # three plans, then the given one
    failures[:] = [OUT_OF_MEMORY]
    monkeypatch.setattr("s2a_core.verify.measured_peak", lambda *args: 1)
    assert verify(model, large, IMAGES, LABELS, Replanner(found)).plan.measured_gradient_error is None
    handle.remove()
    model.register_forward_pre_hook(lambda module, args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        verify(model, large, IMAGES, LABELS, Replanner(found))


def test_copies_that_outlive_steps_are_measured() -> None:
    model = small_vit()
    found = profile(model, 32, 4, has_baselines=False, refine_s=0.0)
    assert found.state_bytes == 4 * found.trainable_params
    plans = [plan(found, 2**30, 4, overhead=overhead_of("cuda", found.state_bytes, has_average=False))]
    plans += [
        plan(found, 2**30, 4, overhead=overhead_of("cpu", found.state_bytes, average)) for average in (False, True)
    ]
    peaks = [measured_peak(model, made, IMAGES, LABELS) for made in plans]
    assert [peak - peaks[0] for peak in peaks] == [0, found.state_bytes, 2 * found.state_bytes]


def test_an_unfinished_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"model": "m"')
    assert recorded(tmp_path / "pairs.jsonl") == []


def test_what_a_plan_promises_once_it_ran_is_not_more_for_kernels_that_were_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A small model on CUDA takes less of its device than the code alone that a plan counts for a run."""
    model = small_vit()
    found = profile(model, 32, 4, has_baselines=False, refine_s=0.0)
    parts = {"context": 300 * MIB, "workspaces": 0, CODE: 20 * MIB}
    overhead = overhead_of("cuda", found.state_bytes, has_average=False, device_parts=parts)
    large = plan(found, 900 * MIB, 16, overhead=overhead)
    monkeypatch.setattr("s2a_core.verify.measured_peak", lambda *args: 310 * MIB)
    monkeypatch.setattr("s2a_core.verify._promised", lambda plan, measured, model: measured + 2 * MIB)
    predicted = verify(model, large, IMAGES, LABELS).plan.predicted
    assert predicted.peak_bytes == sum(predicted.breakdown.values()) == 312 * MIB
    assert predicted.breakdown["context"] == 300 * MIB
    assert min(predicted.breakdown.values()) >= 0


def test_a_plan_that_takes_less_than_predicted_promises_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_vit()
    first = plan(profile(model, 32, 4, has_baselines=False, refine_s=0.0), 2**30, batch_size=16)
    parts = first.predicted.breakdown
    measured = first.predicted.peak_bytes - parts["margin"] - parts["working"] // 2
    monkeypatch.setattr("s2a_core.verify.measured_peak", lambda *_: measured)
    promised = verify(model, first, IMAGES, LABELS).plan.predicted
    assert promised.peak_bytes == measured + parts["margin"] == sum(promised.breakdown.values())
    assert promised.breakdown["margin"] == parts["margin"]


def test_a_miss_counts_from_what_the_plan_was_made_for_and_not_from_what_was_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On CUDA a plan expects less than its budget must have; counted twice, that room would make the next too tight."""
    model = small_vit()
    found = profile(model, 32, 4, has_baselines=False, refine_s=0.0)
    parts = {"context": 300 * MIB, "workspaces": 0, CODE: 20 * MIB}
    overhead = overhead_of("cuda", found.state_bytes, has_average=False, device_parts=parts, code_bytes=MIB)
    made = plan(found, 900 * MIB, 16, overhead=overhead)
    assert made.predicted.peak_bytes + 19 * MIB < made.predicted.needed_bytes < made.budget_bytes
    measured, margins = [905 * MIB, 310 * MIB], list[int]()

    def tighter(self: Replanner, missed: Plan, margin_bytes: int) -> Plan:
        margins.append(margin_bytes)
        return missed

    monkeypatch.setattr("s2a_core.verify.measured_peak", lambda *args: measured.pop(0))
    monkeypatch.setattr(Replanner, "tighter", tighter)
    monkeypatch.setattr(Replanner, "spare_bytes", lambda *args: 2**40)
    assert verify(model, made, IMAGES, LABELS, Replanner(found, overhead)).rounds == 2
    assert margins == [made.predicted.breakdown["margin"] + 905 * MIB - made.predicted.needed_bytes]
