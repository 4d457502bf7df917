"""The meter and the ledger agree, exact ways have the stock gradient, and a missed target is said."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import held


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cnn_holds_a_fraction_with_the_gradients_of_stock(precision: str) -> None:
    rows = {row.way: row for row in held.measured("test_resnet", precision, 96)}
    codes = rows["codes 4 bit"]
    assert codes.ratio >= (20 if precision == "fp32" else 10)
    assert codes.error <= (1e-5 if precision == "fp32" else 1e-4)  # bf16 rounds to 4e-3
    assert max(row.ledger for row in rows.values()) <= 1e-3


def test_fewer_bits_hold_less_and_err_more_on_a_transformer() -> None:
    rows = {row.way: row for row in held.measured("test_vit", "fp32", 160)}
    assert rows["codes 2 bit"].bytes < rows["codes 4 bit"].bytes
    assert rows["codes 2 bit"].error > rows["codes 4 bit"].error
    assert max(row.ledger for row in rows.values()) <= 1e-3


def test_a_missed_target_is_said() -> None:
    row = held.Held("m", "fp32", "codes 4 bit", 10, 12.0, 20.0, 0.0, 0.0)
    assert "MISSED" in held.line(row)
    assert "met" in held.line(dataclasses.replace(row, ratio=20.0))
