"""The outermost search asks for as few profiles as it can and takes the best plan of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2a_core.adapters.spec import AUTO_OR_FULL
from s2a_core.errors import BadAdapter, InfeasibleBudget
from s2a_core.planning.choice import ACCEPTABLE_ERROR, Candidate, candidates, plan_over, smallest_over
from s2a_core.planning.overhead import Overhead
from s2a_core.planning.search import smallest_budget
from s2a_core.planning.types import Plan
from s2a_core.profiling.types import Profile
from tests.s2a_core.planning.profiles import transformer

FIRST = Candidate(AUTO_OR_FULL, None)


class Profiles:
    """Made-up profiles by candidate; bf16 halves the frozen weights, int8 quarters them; what was asked for is kept.

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
        if candidate.weight_format == "int8" and adapter != "full":
            coded = made.frozen_bytes // 4
            made = replace(made, params_bytes=made.params_bytes - made.frozen_bytes + coded, frozen_bytes=0)
            made = replace(made, weight_format="int8")
        step = 10.0 if precision == "fp32" else 4.0
        mark = f"{adapter} {precision} {made.weight_format}"
        return replace(made, adapter=adapter, precision=precision, fingerprint=mark, step_ms_per_sample=step)


def test_what_the_user_said_is_the_only_candidate() -> None:
    assert candidates("lora", "fp32", "float") == [Candidate("lora", "fp32")]
    assert candidates("lora", "fp32", "nf4") == [Candidate("lora", "fp32", "nf4")]
    assert [c.precision for c in candidates("lora", None, "float")] == [None, "bf16"]
    assert [c.adapter for c in candidates("auto", "fp32", "float")] == [AUTO_OR_FULL, "auto", "bias", "head"]
    assert {c.weight_format for c in candidates("auto", None, "int8")} == {"int8"}
    assert candidates("full", "fp32") == [Candidate("full", "fp32")]


def test_weights_are_coded_after_the_same_plan_with_numbers_and_never_in_four_bits() -> None:
    assert candidates("lora", None) == [
        Candidate("lora", None), Candidate("lora", "bf16"), Candidate("lora", "bf16", "int8"),
    ]  # fmt: skip
    of_auto = candidates("auto", None)
    assert [(c.adapter, c.weight_format) for c in of_auto if c.precision == "bf16"] == [
        ("auto", "float"), ("auto", "int8"), ("bias", "float"), ("bias", "int8"), ("head", "float"), ("head", "int8"),
    ]  # fmt: skip


def test_a_budget_below_bf16_is_met_with_coded_weights() -> None:
    profiles = Profiles()
    wanted = candidates("bias", None)
    smallest = smallest_budget(profiles(Candidate("bias", "bf16")), 8)
    made, source = plan_over(wanted, profiles, smallest - 10_000, 8)
    assert (source, made.weight_format) == (Candidate("bias", "bf16", "int8"), "int8")
    assert made.predicted.peak_bytes <= smallest - 10_000
    assert "bias in bf16 needs at least" in made.adapter_reason
    assert [a.name for a in made.alternatives][-1] == "bias in bf16 with int8 weights"


def test_coded_weights_are_not_measured_where_numbers_fit() -> None:
    profiles = Profiles()
    plan_over(candidates("bias", "bf16"), profiles, 100 * 2**20, 8)
    assert profiles.asked == [Candidate("bias", "bf16")]


def test_where_not_even_codes_fit_the_smallest_budget_is_that_of_codes() -> None:
    profiles = Profiles()
    with pytest.raises(InfeasibleBudget) as refused:
        plan_over(candidates("bias", "bf16"), profiles, 1000, 8)
    assert profiles.asked == [Candidate("bias", "bf16"), Candidate("bias", "bf16", "int8")]
    assert refused.value.min_feasible_budget_bytes == smallest_budget(profiles(profiles.asked[1]), 8)


def test_few_frozen_bytes_are_not_worth_a_profile() -> None:
    profiles = Profiles()

    def profile_of(candidate: Candidate) -> Profile:
        return replace(profiles(candidate), frozen_bytes=1000)

    with pytest.raises(InfeasibleBudget):
        plan_over(candidates("bias", "bf16"), profile_of, 1000, 8)
    assert profiles.asked == [Candidate("bias", "bf16")]


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
    assert [c.adapter for c in profiles.asked if c.weight_format == "float"] == [AUTO_OR_FULL, "bias", "head"]


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
    assert [c.adapter for c in profiles.asked] == [AUTO_OR_FULL, "auto", "bias", "head", "head"]
    assert profiles.asked[-1] == Candidate("head", "bf16", "int8")
    least = min(smallest_budget(Profiles()(c), 8) for c in profiles.asked)
    assert refused.value.min_feasible_budget_bytes == least
    made, _ = plan_over(candidates("auto", None), profiles, least, 8)
    assert made.predicted.peak_bytes <= least


@pytest.mark.parametrize("is_cnn", [False, True])
@pytest.mark.parametrize(("adapter", "precision"), [("auto", None), ("bias", None), ("bias", "bf16"), ("full", None)])
def test_the_smallest_budget_of_a_roomy_plan_is_the_one_that_a_refusal_names(
    is_cnn: bool, adapter: str, precision: str | None
) -> None:
    wanted, profiles = candidates(adapter, precision), Profiles(is_cnn)
    smallest = smallest_over(wanted, profiles, 8, lambda profile: Overhead())
    assert smallest is not None
    assert plan_over(wanted, Profiles(is_cnn), smallest, 8)[0].predicted.peak_bytes <= smallest
    for budget_bytes in (1000, smallest * 98 // 100, smallest - 1):
        with pytest.raises(InfeasibleBudget) as refused:
            plan_over(wanted, Profiles(is_cnn), budget_bytes, 8)
        assert refused.value.min_feasible_budget_bytes == smallest


def test_the_smallest_budget_is_not_named_where_a_profile_is_not_known() -> None:
    def profile_of(candidate: Candidate) -> Profile | None:
        return None if candidate.weight_format == "int8" else Profiles()(candidate)

    assert smallest_over(candidates("bias", "bf16"), profile_of, 8, lambda profile: Overhead()) is None
    assert smallest_over(candidates("full", "bf16"), profile_of, 8, lambda profile: Overhead()) is not None


def test_a_candidate_that_cannot_be_profiled_within_the_budget_does_not_refuse_those_that_fit() -> None:
    """On a GPU all weights' gradients may not fit where biases train with room to spare."""

    def profile_of(candidate: Candidate) -> Profile:
        if candidate.adapter == AUTO_OR_FULL:
            raise InfeasibleBudget(
                budget_bytes=5, min_feasible_budget_bytes=9, binding="x", binding_bytes=1, is_estimate=True
            )
        return Profiles()(candidate)

    _, source = plan_over(candidates("auto", "bf16"), profile_of, 100 * 2**20, 8)
    assert source == Candidate("auto", "bf16")
    with pytest.raises(InfeasibleBudget) as refused:
        plan_over(candidates("auto", "bf16"), profile_of, 1000, 8)
    assert not refused.value.is_estimate
    assert refused.value.min_feasible_budget_bytes > 9


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
