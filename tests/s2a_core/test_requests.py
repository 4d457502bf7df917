"""What follows from a request alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s2a_core.adapters import AdapterSpec, resolve
from s2a_core.errors import InvalidInput
from s2a_core.models import load_model
from s2a_core.planning import plan
from s2a_core.requests import RunRequest, as_planned, as_resumed, pairs_of, pinned_adapter, request_mark_of
from tests.s2a_core.planning.profiles import transformer


def test_a_plan_fills_in_what_a_request_left_open() -> None:
    made = plan(transformer(1), 10 * 2**20, 4)
    request = RunRequest("m")
    assert as_planned(request, made).adapter == "bias"
    assert as_planned(request, made).precision == "fp32"
    auto = replace(made, adapter="bias,prompt")
    assert as_planned(request, auto).adapter == "auto"
    assert as_planned(request, replace(made, adapter="full")).adapter == "full"
    assert as_planned(replace(request, adapter="side", precision="bf16"), made).adapter == "side"


def test_a_plan_is_for_its_own_budget_and_batch() -> None:
    made = plan(transformer(1), 10 * 2**20, 4)
    planned = as_planned(RunRequest("m"), made)
    assert (planned.budget_bytes, planned.batch_size) == (10 * 2**20, 4)
    assert as_planned(RunRequest("m", budget_bytes=10 * 2**20, batch_size=4), made) == planned
    with pytest.raises(InvalidInput, match=r"a budget of 10,485,760 bytes, not 5: leave the budget out"):
        as_planned(RunRequest("m", budget_bytes=5), made)
    with pytest.raises(InvalidInput, match=r"batches of 4 images, not 64: leave the batch size out"):
        as_planned(RunRequest("m", batch_size=64), made)


def test_a_resumed_run_has_the_kept_plan_and_for_another_budget_what_its_checkpoint_is_of() -> None:
    kept = plan(transformer(1), 10 * 2**20, 4)
    request = RunRequest("m", budget_bytes=10 * 2**20)
    assert as_resumed(request, kept) == replace(as_planned(request, kept), plan=kept)
    given = replace(request, plan=replace(kept, mean_bits=32.0))
    assert as_resumed(given, kept).plan is kept
    assert as_resumed(RunRequest("m"), kept).budget_bytes == 10 * 2**20
    tighter = as_resumed(replace(request, budget_bytes=9 * 2**20), kept)
    assert tighter == RunRequest(
        "m",
        budget_bytes=9 * 2**20,
        batch_size=4,
        adapter="bias",
        precision="fp32",
        weight_format="float",
        optimizer="adamw",
    )
    own = as_resumed(replace(request, budget_bytes=9 * 2**20), replace(kept, adapter="bias,prompt"))
    assert own.adapter == "auto-alone"
    other = replace(given, budget_bytes=9 * 2**20)
    assert as_resumed(other, kept) is other
    with pytest.raises(InvalidInput, match="batches of 4"):
        as_resumed(replace(request, batch_size=8), kept)


def test_a_pinned_adapter_is_the_one_of_the_plan_at_its_own_width() -> None:
    """The words of a plan say no width: `auto` on a CNN has branches of half of the channels, `side` of an eighth."""
    made = replace(plan(transformer(1), 10 * 2**20, 4), adapter="bias,norm,side")
    pinned = AdapterSpec.parse(pinned_adapter("auto", made))
    network = load_model("mobilenetv2_100", None, 5)
    assert resolve(network, pinned, 64) == resolve(network, AdapterSpec(), 64)
    assert resolve(network, pinned, 64).reduction == 2
    assert [pinned_adapter("auto", replace(made, adapter=name)) for name in ("full", "bias", "head")] == [
        "full", "bias", "head",
    ]  # fmt: skip
    assert pinned_adapter("bias,norm,side", made) == "bias,norm,side"


def test_pairs_lie_beside_the_profiles_and_marks_tell_requests_apart() -> None:
    assert pairs_of(RunRequest("m")) is None
    assert pairs_of(RunRequest("m", profile_cache=Path("/c/profiles"))) == Path("/c/peak_pairs.jsonl")
    marks = {request_mark_of(RunRequest("m")), request_mark_of(RunRequest("m", precision="bf16"))}
    assert len(marks) == 2
    assert request_mark_of(RunRequest("m", budget_bytes=5)) in marks
