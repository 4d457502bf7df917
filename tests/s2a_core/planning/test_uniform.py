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


@pytest.mark.parametrize(("bits", "finer"), [(2, Storage.B6), (4, Storage.B6), (6, Storage.B6), (8, Storage.B8)])
def test_the_layers_of_lora_have_six_bits_at_least(bits: int, finer: Storage) -> None:
    profile = transformer(1)
    whole, first, *others = profile.sites
    plan = Plan.uniform(replace(profile, sites=(whole, replace(first, op="low_rank_conv"), *others)), bits)
    assert plan.sites[first.name] is finer
    assert {plan.sites[site.name] for site in others} == {Storage(f"b{bits}")}
