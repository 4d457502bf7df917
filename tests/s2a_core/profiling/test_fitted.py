"""Tables are fitted to the model's own inputs, travel with profile and plan, and are what the session then uses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from s2a_core.compression import compress
from s2a_core.kernels import DerivativeTable, fit_table
from s2a_core.operators import CURVES
from s2a_core.operators.smooth import ActivationFunction
from s2a_core.planning import Plan
from s2a_core.profiling import Profile, profile
from s2a_core.profiling.fitted import FEWEST_VALUES, fitted_tables
from s2a_core.storage import FittedTable, Storage, StoragePolicy
from tests.assertions import cosine
from tests.s2a_core.compression.models import bias_only, gradients, small_vit


class Shifted(nn.Module):
    """An activation whose inputs lie around -2, as in trained networks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 32, 3)
        self.act = nn.GELU()
        self.head = nn.Linear(32, 2)
        nn.init.constant_(self.inner.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [B, 3, H, W] -> [B, 2]."""
        return self.head(self.act(self.inner(x)).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_fitted_table_is_nearer_than_the_universal_one() -> None:
    model = bias_only(Shifted())
    tables = fitted_tables(model, torch.randn(4, 3, 32, 32), "fp32")
    assert [(t.site, t.bits) for t in tables] == [("act:gelu", bits) for bits in (1, 2, 3, 4)]
    x = torch.randn(8, 3, 32, 32)  # other images
    expected = gradients(model, model(x))
    for bits in (1, 2, 3):
        found = []
        for own in ((), tables):
            with compress(model, StoragePolicy({"act:gelu": Storage(f"b{bits}")}, tables=own)):
                y = model(x)
            found.append(cosine(gradients(model, y), expected))
        assert found[1] > found[0]


def test_the_same_images_give_the_same_tables_and_the_model_is_left_alone() -> None:
    model, x = small_vit(1), torch.randn(4, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert fitted_tables(model, x, "fp32") == fitted_tables(model, x, "fp32")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_few_values_have_no_table() -> None:
    model = bias_only(Shifted())
    assert FEWEST_VALUES > 32 * 4 * 4
    assert fitted_tables(model, torch.randn(1, 3, 6, 6), "fp32") == ()


def test_tables_travel_from_the_calibration_to_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = small_vit(), torch.randn(8, 3, 64, 64)
    labels = torch.arange(8) % 5
    options = {"image_size": 64, "batch_size": 8, "sensitivity_s": 0.0, "has_baselines": False}
    assert profile(model, **options).tables == ()  # type: ignore[arg-type]
    found = profile(model, calibration=(images, labels), **options)  # type: ignore[arg-type]
    assert {(t.site, t.bits) for t in found.tables} == {
        (f"blocks.{i}.mlp.act:gelu", bits) for i in (0, 1) for bits in (1, 2, 3, 4)
    }
    again = Profile.from_json(json.loads(json.dumps(found.to_json())))
    assert again.tables == found.tables
    chosen = Plan.from_json(json.loads(json.dumps(Plan.uniform(again, bits=2).to_json())))
    assert [(t.site, t.bits) for t in chosen.tables] == [(f"blocks.{i}.mlp.act:gelu", 2) for i in (0, 1)]
    used: list[DerivativeTable] = []
    monkeypatch.setattr(ActivationFunction, "apply", lambda x, curve, table: used.append(table) or curve.function(x))
    with compress(model, chosen):
        model(images)
        model(images)
    assert [table.level_values for table in used] == [table.levels for table in chosen.tables] * 2
    assert used[0] is used[2]
    wider = replace(chosen, sites={**chosen.sites, "blocks.1.mlp.act:gelu": Storage.B3})
    with compress(model, wider):
        model(images)
    assert used[-1] == fit_table(CURVES["gelu"], 3)
    assert Plan.uniform(again, bits=8).tables == ()


def test_a_table_of_the_wrong_length_is_refused() -> None:
    document = {"site": "a", "bits": 2, "borders": [0.0], "levels": [0.0, 1.0]}
    with pytest.raises(ValueError, match="2 bits has 4 levels, not 2"):
        FittedTable.from_json(document)
