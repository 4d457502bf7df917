"""Uniform plans use one width, and a finer one for LoRA's layers."""

from __future__ import annotations

from dataclasses import replace

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
def test_the_layers_of_lora_have_eight_bits(bits: int) -> None:
    profile = transformer(1)
    whole, first, *others = profile.sites
    plan = Plan.uniform(replace(profile, sites=(whole, replace(first, op="low_rank_conv"), *others)), bits)
    assert plan.sites[first.name] is Storage.B8
    assert {plan.sites[site.name] for site in others} == {Storage(f"b{bits}")}
