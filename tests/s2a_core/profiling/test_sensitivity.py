"""Sites that share a measurement, and widths between two measured ones."""

from __future__ import annotations

import pytest

from s2a_core.compression import SiteSpec
from s2a_core.profiling.sensitivity import anchors, between, groups, linear_bytes, share
from s2a_core.storage import CODES, Storage

EVERY = (Storage.EXACT, *CODES)


def spec(name: str, op: str = "gelu", width: int = 8, options: tuple[Storage, ...] = EVERY) -> SiteSpec:
    return SiteSpec(name, op, (2, 4, width), "float32", options, None, 0)


def test_sites_of_one_shape_share_a_measurement() -> None:
    found = groups([spec("blocks.0.act:gelu"), spec("blocks.11.act:gelu"), spec("blocks.2.act:gelu", width=16)])
    assert sorted(len(group) for group in found) == [1, 2]
    assert share(2.0, [0] * 4) == 1.0
    coarse = groups([spec("a:gelu"), spec("b:gelu", width=16), spec("c:relu", "relu")], by_shape=False)
    assert [len(group) for group in coarse] == [2, 1]


def test_exact_storages_are_measured_too() -> None:
    assert anchors(spec("a:relu", "relu", options=(Storage.EXACT, Storage.MASK))) == (Storage.MASK,)
    assert anchors(spec("a:gelu")) == (Storage.B2, Storage.B4)


def test_widths_between_are_log_linear_in_bits() -> None:
    measured = {Storage.EXACT: 0.0, Storage.B2: 0.4, Storage.B4: 0.1}
    assert between(measured, Storage.B3) == pytest.approx(0.2)
    assert between(measured, Storage.B1) == pytest.approx(0.8)
    assert between(measured, Storage.EXACT) == 0.0


def test_bytes_are_a_line_in_bits() -> None:
    measured = {Storage.B2: 24.0, Storage.B4: 40.0}
    assert linear_bytes(measured, Storage.B8) == 72.0
