"""Uniform plans use one width."""

from __future__ import annotations

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
