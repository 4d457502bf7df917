"""The planner names one smallest budget for a request, whichever of its candidates is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from s2a_core.errors import InfeasibleBudget
from s2a_core.planner import Planner
from s2a_core.planning.choice import Candidate
from s2a_core.planning.overhead import Overhead
from s2a_core.planning.types import Plan
from s2a_core.profiles import Fits
from s2a_core.profiling.types import Profile, WorkingSet
from s2a_core.requests import RunRequest
from s2a_core.verify import VerifiedPlan
from tests.s2a_core.planning.test_choice import Profiles

ROOMY = 100 * 2**20


class Measured(Planner):
    """A planner of made-up profiles; `measured` has the candidates that were, True where only bytes were."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.measured: list[tuple[Candidate, bool]] = []
        self.of_weights: list[Candidate] = []  # those whose weights said enough
        self.verified: list[tuple[str, str]] = []

    def prepared(self, candidate: Candidate | None = None) -> Any:
        return Profiles()(candidate or self.candidates[0])

    def _verified(self, plan: Plan) -> VerifiedPlan:
        """Real steps that take more than their budget where the weights are numbers."""
        self.verified.append((plan.precision, plan.weight_format))
        if plan.weight_format == "float":
            raise InfeasibleBudget(
                budget_bytes=plan.budget_bytes, min_feasible_budget_bytes=2 * ROOMY, binding="x", binding_bytes=1
            )
        return VerifiedPlan(plan, plan.predicted.peak_bytes, plan.predicted.peak_bytes, 1)

    def _measure(self, candidate: Candidate, is_possible: Fits | None = None, is_wanted: Fits | None = None) -> Profile:
        made: Profile = self.prepared(candidate)
        without_sites = replace(made, sites=(), shared=(), start={}, evaluation={"exact": WorkingSet(0, 0)})
        if is_possible is not None and not is_possible(without_sites):
            self.of_weights.append(candidate)
            return without_sites
        self.measured.append((candidate, is_wanted is not None and not is_wanted(made)))
        return made


def planner(cache: Path | None = None, **changes: Any) -> Measured:
    """Of a request that leaves the precision and the weights open."""
    fields = {"budget_bytes": ROOMY, "adapter": "bias", "batch_size": 8, "num_classes": 4, **changes}
    return Measured(RunRequest("test_vit", **fields), cache)


@pytest.mark.parametrize("adapter", ["auto", "bias", "full"])
def test_a_roomy_plan_names_the_smallest_budget_that_a_refusal_names(adapter: str) -> None:
    roomy = planner(adapter=adapter)
    named = roomy.with_smallest(roomy.plan()).min_feasible_budget_bytes
    assert named is not None
    for budget_bytes in (1000, named * 98 // 100):
        with pytest.raises(InfeasibleBudget) as refused:
            planner(adapter=adapter).plan(budget_bytes)
        assert refused.value.min_feasible_budget_bytes == named
    smallest = planner(adapter=adapter).plan(named)
    assert smallest.predicted.peak_bytes <= smallest.budget_bytes == named


def test_only_bytes_are_measured_of_what_is_not_chosen_and_once(tmp_path: Path) -> None:
    first = planner(tmp_path)
    plan = first.with_smallest(first.plan())
    assert first.measured == [
        (Candidate("bias", None), False), (Candidate("bias", "bf16"), True), (Candidate("bias", "bf16", "int8"), True),
    ]  # fmt: skip
    second = planner(tmp_path)
    assert second.with_smallest(second.plan()).min_feasible_budget_bytes == plan.min_feasible_budget_bytes
    assert second.measured == []


def test_a_run_measures_nothing_to_name_the_smallest_budget_but_knows_what_was_measured(tmp_path: Path) -> None:
    alone = planner(tmp_path)
    assert alone.plan().min_feasible_budget_bytes is None
    assert alone.measured == [(Candidate("bias", None), False)]
    named = planner(tmp_path)
    smallest = named.with_smallest(named.plan()).min_feasible_budget_bytes
    assert smallest is not None
    assert planner(tmp_path).plan().min_feasible_budget_bytes == smallest
    assert planner(tmp_path).for_objective(named.plan(), "speed").min_feasible_budget_bytes == smallest


def test_what_does_not_fit_is_measured_no_further_than_its_bytes(tmp_path: Path) -> None:
    smallest = planner().with_smallest(planner().plan()).min_feasible_budget_bytes
    assert smallest is not None
    tight = planner(tmp_path, budget_bytes=smallest)
    tight.measure()  # as the doors do, to tell the phases apart
    assert tight.measured == [(tight.candidates[0], True)]
    chosen = tight.plan()
    assert len({candidate for candidate, _ in tight.measured}) == len(tight.measured)
    refused = [candidate for candidate, is_bytes_only in tight.measured if is_bytes_only]
    assert refused
    assert [candidate for candidate, is_only in tight.measured if not is_only] == [tight.candidate_of(chosen)]
    again = planner(tmp_path)
    assert again.plan(smallest).sites == chosen.sites
    assert again.measured == []
    assert again.plan(ROOMY).predicted.gradient_error == 0.0
    assert again.measured == [(refused[0], False)]  # it fits a larger budget: errors and times are wanted now


def test_where_weights_alone_are_beyond_the_budget_nothing_is_measured(tmp_path: Path) -> None:
    open_adapter = planner(adapter="auto")
    smallest = open_adapter.with_smallest(open_adapter.plan()).min_feasible_budget_bytes
    assert smallest is not None
    tight = planner(tmp_path, adapter="auto", budget_bytes=smallest)
    chosen = tight.with_smallest(tight.plan())
    assert tight.of_weights
    assert not {candidate for candidate, _ in tight.measured} & set(tight.of_weights)
    assert f"{tight.of_weights[0].precision or 'fp32'} needs at least" in chosen.adapter_reason
    assert chosen.min_feasible_budget_bytes == smallest
    again = planner(tmp_path, adapter="auto", budget_bytes=smallest)
    assert again.plan().sites == chosen.sites
    assert again.measured == again.of_weights == []
    roomy = planner(tmp_path, adapter="auto")
    assert roomy.plan().predicted.gradient_error == 0.0  # for a larger budget the same candidate is measured
    assert tight.of_weights[0] in {candidate for candidate, _ in roomy.measured}
    with pytest.raises(InfeasibleBudget) as refused:  # what a refusal names is measured, not the weights of another
        planner(adapter="auto").plan(smallest * 98 // 100)
    assert (refused.value.min_feasible_budget_bytes, refused.value.is_estimate) == (smallest, False)


def test_no_plan_is_made_of_weights_alone_where_a_budget_slightly_below_the_smallest_is_planned_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a device a budget may lie a little below what a profile says: whatever asks has to allow for that alike."""
    monkeypatch.setattr(Overhead, "tolerance", 0.01)
    first = planner(adapter="auto").candidates[0]
    of_weights = planner(adapter="auto")._measure(first, is_possible=lambda part: False)
    assert not of_weights.sites
    smallest = planner(adapter="auto")._smallest_of(of_weights)
    assert planner(adapter="auto")._profile_within(first, int(0.995 * smallest)).sites
    assert not planner(adapter="auto")._profile_within(first, int(0.98 * smallest)).sites


def test_a_cap_that_takes_no_profile_names_no_less_than_weights_and_optimizer_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = planner()
    candidate = made.candidates[0]
    of_weights = made._measure(candidate, is_possible=lambda part: False)
    smallest = made._smallest_of(of_weights)

    asked = [2, 2 * smallest]

    def ran_out(*_: Any, is_possible: Fits, **__: Any) -> Profile:
        is_possible(of_weights)
        raise InfeasibleBudget(
            budget_bytes=1, min_feasible_budget_bytes=asked.pop(0), binding="profiling", binding_bytes=1,
            details={"asked_bytes": 7}, is_estimate=True,
        )  # fmt: skip

    monkeypatch.setattr("s2a_core.profiling.measure.profile_within", ran_out)
    model = SimpleNamespace(
        model=nn.Linear(1, 1), image_size=1, precision="fp32", dataset=None, name="", spec="", has_weights=False,
        task=SimpleNamespace(name=""),
    )  # fmt: skip
    monkeypatch.setattr(made, "prepared", lambda candidate: model)
    for named in (smallest, 2 * smallest):
        with pytest.raises(InfeasibleBudget, match="not known yet") as refused:
            Planner._measure(made, candidate)
        assert refused.value.details["min_feasible_budget_bytes"] == named
        assert refused.value.details["asked_bytes"] == 7


def test_one_candidate_is_its_own_smallest() -> None:
    only = planner(adapter="full", precision="fp32")
    assert only.plan().min_feasible_budget_bytes == only.with_smallest(only.plan()).min_feasible_budget_bytes
    assert len(only.measured) == 1


def test_where_no_plan_of_a_candidate_runs_inside_the_budget_the_next_one_is_tried() -> None:
    several = planner()
    first = several.with_smallest(several.plan())
    ready = several.verify(first).plan
    assert several.verified == [("fp32", "float"), ("bf16", "float"), ("bf16", "int8")]
    assert (ready.weight_format, ready.min_feasible_budget_bytes) == ("int8", first.min_feasible_budget_bytes)
    only = planner(adapter="full", precision="fp32")
    with pytest.raises(InfeasibleBudget):
        only.verify(only.plan())
    assert len(only.verified) == 1


def test_a_candidate_that_the_device_cannot_measure_leaves_room_for_the_next_one() -> None:
    several = planner()
    first, refusals = several.candidates[0], []
    measure = several._measure

    def refused(candidate: Candidate, *asked: Any) -> Profile:
        if candidate == first:
            refusals.append(candidate)
            raise InfeasibleBudget(
                budget_bytes=ROOMY, min_feasible_budget_bytes=2 * ROOMY, binding="x", binding_bytes=1
            )
        return measure(candidate, *asked)

    several._profiles._measure = refused
    several.measure()
    assert several.candidate_of(several.plan()) == several.candidates[1]
    assert refusals == [first]  # the cap stands, so it is not measured again


def test_what_a_short_budget_let_be_measured_of_one_sample_is_not_kept_for_others(tmp_path: Path) -> None:
    class Cut(Measured):
        """On a device whose budget takes one sample."""

        def _measure(self, *arguments: Any, **options: Any) -> Profile:
            return replace(super()._measure(*arguments, **options), profiling_bytes=1, chunk_samples=1)

    request = RunRequest("test_vit", budget_bytes=ROOMY, adapter="bias", batch_size=8, num_classes=4)
    for _ in range(2):
        cut = Cut(request, tmp_path)
        cut.plan()
        assert cut.measured
