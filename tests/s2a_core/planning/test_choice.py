"""The outermost search asks for as few profiles as it can and takes the best plan of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2a_core.adapters.spec import AUTO_OR_FULL
from s2a_core.errors import BadAdapter, InfeasibleBudget
from s2a_core.planning.choice import ACCEPTABLE_ERROR, Candidate, candidates, plan_over
from s2a_core.planning.search import smallest_budget
from s2a_core.planning.types import Plan
from s2a_core.profiling.types import Profile
from tests.s2a_core.planning.profiles import transformer

FIRST = Candidate(AUTO_OR_FULL, None)


class Profiles:
    """Made-up profiles by candidate; bf16 halves the frozen weights; what was asked for is kept.

    is_cnn: all weights train better than the modules of `auto`, and need more bytes.
    """

    def __init__(self, is_cnn: bool = False) -> None:
        self.asked: list[Candidate] = []
        self.is_cnn = is_cnn

    def __call__(self, candidate: Candidate) -> Profile:
        self.asked.append(candidate)
        precision = candidate.precision or "fp32"
        adapter = candidate.adapter
        if adapter in ("auto", AUTO_OR_FULL):
            adapter = "full" if self.is_cnn and adapter == AUTO_OR_FULL else "bias,prompt"
        made = transformer(1 if adapter == "head" else 3)
        if adapter == "full":
            made = replace(made, optimizer_bytes=2 * made.params_bytes)
        step = 10.0 if precision == "fp32" else 4.0
        return replace(
            made, adapter=adapter, precision=precision, fingerprint=f"{adapter} {precision}", step_ms_per_sample=step
        )


def test_what_the_user_said_is_the_only_candidate() -> None:
    assert candidates("lora", "fp32") == [Candidate("lora", "fp32")]
    assert [c.precision for c in candidates("lora", None)] == [None, "bf16"]
    assert [c.adapter for c in candidates("auto", "fp32")] == [AUTO_OR_FULL, "auto", "bias", "head"]
    assert candidates("auto-alone", "fp32") == [Candidate("auto-alone", "fp32")]


def test_one_profile_is_enough_where_it_fits_exactly() -> None:
    profiles = Profiles()
    made, source = plan_over(candidates("auto", None), profiles, 100 * 2**20, 8)
    assert profiles.asked == [source] == [FIRST]
    assert made.adapter == "bias,prompt"
    assert "fits" in made.adapter_reason


def test_all_weights_of_a_cnn_are_trained_where_they_fit_and_its_modules_where_they_do_not() -> None:
    profiles = Profiles(is_cnn=True)
    made, source = plan_over(candidates("auto", None), profiles, 100 * 2**20, 8)
    assert (made.adapter, profiles.asked) == ("full", [FIRST])
    smallest = smallest_budget(profiles(FIRST), 8)
    made, source = plan_over(candidates("auto", None), profiles, smallest - 20_000, 8)
    assert (made.adapter, source) == ("bias,prompt", Candidate("auto", None))
    assert made.predicted.peak_bytes <= smallest - 20_000
    assert "full in fp32 needs at least" in made.adapter_reason


def test_what_auto_or_full_was_already_is_not_measured_again() -> None:
    profiles = Profiles()
    with pytest.raises(InfeasibleBudget):
        plan_over(candidates("auto", "fp32"), profiles, 1000, 8)
    assert [c.adapter for c in profiles.asked] == [AUTO_OR_FULL, "bias", "head"]


def test_a_budget_below_fp32_is_met_in_bf16_and_the_reason_says_so() -> None:
    profiles = Profiles()
    smallest = smallest_budget(profiles(FIRST), 8)
    made, source = plan_over(candidates("auto", None), profiles, smallest - 20_000, 8)
    assert source == Candidate("auto", "bf16")
    assert made.precision == "bf16"
    assert made.predicted.peak_bytes <= smallest - 20_000
    assert "bias,prompt in fp32 needs at least" in made.adapter_reason
    assert made.alternatives[0].peak_bytes is None


def test_the_smallest_budget_of_all_is_told_when_nothing_fits() -> None:
    profiles = Profiles()
    with pytest.raises(InfeasibleBudget) as refused:
        plan_over(candidates("auto", None), profiles, 1000, 8)
    assert [c.adapter for c in profiles.asked] == [AUTO_OR_FULL, "auto", "bias", "head"]
    least = min(smallest_budget(Profiles()(c), 8) for c in profiles.asked)
    assert refused.value.min_feasible_budget_bytes == least
    made, _ = plan_over(candidates("auto", None), profiles, least, 8)
    assert made.predicted.peak_bytes <= least


def test_speed_takes_the_faster_precision() -> None:
    made, source = plan_over(candidates("auto", None), Profiles(), 100 * 2**20, 8, "speed")
    assert source.precision == "bf16"
    assert {a.precision for a in made.alternatives} == {"fp32", "bf16"}


def test_an_adapter_that_a_model_cannot_take_is_passed_over_unless_it_was_asked_for() -> None:
    def profile_of(candidate: Candidate) -> Profile:
        if candidate.adapter == "bias":
            raise BadAdapter("no")
        return Profiles()(candidate)

    with pytest.raises(InfeasibleBudget):
        plan_over(candidates("auto", "fp32"), profile_of, 1000, 8)
    with pytest.raises(BadAdapter):
        plan_over(candidates("bias", "fp32"), profile_of, 1000, 8)


def test_a_plan_over_candidates_reads_back() -> None:
    made, _ = plan_over(candidates("auto", None), Profiles(), 100 * 2**20, 8)
    assert Plan.from_json(made.to_json()) == made
    assert made.predicted.gradient_error <= ACCEPTABLE_ERROR
