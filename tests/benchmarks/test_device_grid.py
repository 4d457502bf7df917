"""The grid of budgets on devices without silicon asks for the right cases and sums them up as they are."""

from __future__ import annotations

from typing import Any

from benchmarks.device_grid import BELOW, HALFWAY, ROOMY, SMALLEST, cases_of, combinations, table

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
    adapters, contexts = ["bias", "auto", "lora", "full"], [256, 426, 616]
    cases = list(combinations([f"m{i}" for i in range(12)], adapters, contexts))
    assert [model for model, _, _ in cases[:12]] == [f"m{i}" for i in range(12)]
    assert len({(adapter, context) for _, adapter, context in cases[:12]}) == 12
    assert len({(model, adapter) for model, adapter, _ in cases}) == len(cases) == 48


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
