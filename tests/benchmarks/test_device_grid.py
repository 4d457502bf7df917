"""The grid of budgets on devices without silicon asks for the right cases and sums them up as they are."""

from __future__ import annotations

from typing import Any

from benchmarks.device_grid import BELOW, HALFWAY, ROOMY, SMALLEST, cases_of, combinations, table, trainings_of

MIB = 2**20
TRAINED = {
    "model": "a", "adapter": "bias", "context_mib": 256, "budget": ROOMY, "budget_bytes": 900 * MIB,
    "status": "trained", "predicted_bytes": 800 * MIB, "held_bytes": 792 * MIB, "smallest_bytes": 600 * MIB,
    "commit": "abc",
}  # fmt: skip


def test_budgets_follow_from_the_runs_before() -> None:
    known: dict[str, Any] = {ROOMY: TRAINED, HALFWAY: {**TRAINED, "smallest_bytes": 550 * MIB}}
    budgets = dict(cases_of(known))
    assert budgets[HALFWAY] == 700 * MIB
    assert budgets[SMALLEST] == 600 * MIB  # what the roomy plan names
    assert budgets[BELOW] == int(588 * MIB)
    assert [name for name, _ in cases_of(known, [BELOW])] == [ROOMY, BELOW]


def test_every_model_meets_every_adapter_and_the_first_round_has_all_models() -> None:
    trainings = list(trainings_of(["bias", "auto", "lora", "full"], ["auto"], ["adamw"]))
    cases = list(combinations([f"m{i}" for i in range(12)], trainings, [256, 426, 616]))
    assert [case["model"] for case in cases[:12]] == [f"m{i}" for i in range(12)]
    assert len({(case["adapter"], case["context_mib"]) for case in cases[:12]}) == 12
    assert len({(case["model"], case["adapter"]) for case in cases}) == len(cases) == 48


def test_trainings_say_what_is_not_usual_and_full_fine_tuning_has_no_frozen_weights() -> None:
    trainings = list(trainings_of(["lora", "full"], ["auto", "nf4"], ["adamw", "adamw8bit"]))
    assert len(trainings) == 6
    assert trainings[0] == {"adapter": "lora"}
    assert trainings[3] == {"adapter": "lora", "weights": "nf4", "optimizer": "adamw8bit"}
    assert trainings[-1] == {"adapter": "full", "optimizer": "adamw8bit"}
    assert "| lora with nf4 weights, adamw8bit |" in table([{**TRAINED, **trainings[3]}])


def test_a_model_that_did_not_train_has_no_smaller_budgets() -> None:
    known: dict[str, Any] = {ROOMY: {**TRAINED, "status": "out_of_memory"}}
    assert [name for name, _ in cases_of(known)] == [ROOMY]


def test_the_summary_counts_what_was_held_above_the_budget_and_above_the_promise() -> None:
    over = {**TRAINED, "budget": SMALLEST, "held_bytes": 950 * MIB}
    refused = {**TRAINED, "budget": BELOW, "status": "infeasible_budget"}
    text = table([TRAINED, over, refused])
    assert "2 trainings of 1 models: 1 held more than the budget, 1 more than was promised" in text
    assert "Of 1 smallest budgets 1 trained; of 1 that are 2 % smaller 1 were refused." in text
    assert "median 9.88%, worst 18.75%" in text
