"""Uniform plans use one width, and a finer one for LoRA's layers and the head's input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from s2a_core.planning import Plan
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import transformer


def test_uniform_plans_use_one_width() -> None:
    profile = transformer(2)
    plain = Plan.uniform(profile, bits=4)
    assert set(plain.sites.values()) == {Storage.B4, Storage.NONE}
    rebuilt = Plan.uniform(profile, bits=4, recompute=True)
    assert all(v is Storage.B4 for k, v in rebuilt.sites.items() if k.endswith(":region"))
    assert rebuilt.predicted.breakdown["held"] < plain.predicted.breakdown["held"]


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
@pytest.mark.parametrize("change", [{"op": "low_rank_conv"}, {"op": "linear", "shape": (768,)}], ids=["lora", "head"])
def test_the_layers_of_lora_and_the_head_have_eight_bits(bits: int, change: dict[str, Any]) -> None:
    profile = transformer(1)
    whole, first, *others = profile.sites
    plan = Plan.uniform(replace(profile, sites=(whole, replace(first, **change), *others)), bits)
    assert plan.sites[first.name] is Storage.B8
    assert {plan.sites[site.name] for site in others} == {Storage(f"b{bits}")}
