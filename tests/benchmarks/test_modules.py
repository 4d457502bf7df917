"""Models of other libraries with their own losses, end to end; failures are rows."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks import modules
from benchmarks.module_cases import CASES, Case
from benchmarks.modules_table import LEAST_AT_8_BITS, LEAST_EXACT, MOST_OFF, Row, table
from benchmarks.modules_torch import Made
from s2a_core.batches import forward, loss_of, samples_of_pair


@pytest.mark.parametrize("name", modules.OFTEN)
def test_gradients_are_stocks_and_the_verified_plan_stays_inside(name: str) -> None:
    row = modules.check(name)
    assert row.failure == ""
    assert row.sites > 0
    assert row.cosine_exact >= LEAST_EXACT
    assert row.cosine_8bit >= LEAST_AT_8_BITS
    assert row.cosine_rebuilt is None or row.cosine_rebuilt >= LEAST_AT_8_BITS
    assert 0 < row.measured_bytes <= min(row.promised_bytes, row.budget_bytes)
    assert abs(row.off) <= MOST_OFF


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("CLIP", "YOLOS", "U-Net", "GPT"))])
def test_a_model_has_a_finite_loss_of_its_samples(name: str) -> None:
    torch.manual_seed(0)
    made = CASES[name].make()
    x, y = samples_of_pair((made.inputs, made.targets), made.loss)
    assert len(x) == 4
    assert loss_of(forward(made.model, x), y).requires_grad


def test_the_table_has_two_dozen_models_of_other_libraries() -> None:
    assert len(CASES) >= 24
    assert {case.library for case in CASES.values()} == {"torch", "torchvision", "transformers", "peft"}
    assert set(modules.OFTEN) <= set(CASES)


def test_a_model_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Made:
        raise ValueError("no | such\n model: corner")

    monkeypatch.setitem(CASES, "broken", Case("torch", "none", "bias", make))
    row = modules.check("broken")
    assert not row.is_good
    assert "failed: ValueError: no / such model: corner" in table([row])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measured_bytes": 90, "predicted_bytes": 100}, "predicted too much"),
        ({"measured_bytes": 110, "predicted_bytes": 100}, "above what verification promised"),
        ({"cosine_8bit": 0.99}, "8-bit codes"),
    ],
)
def test_a_row_says_what_it_misses(change: dict[str, float], words: str) -> None:
    good = Row("m", "torch", "none", "bias", 1, 1.0, 1.0, None, 200, 100, 100, 100)
    assert good.is_good
    assert words in table([dataclasses.replace(good, **change)])
