"""Writes: every way to change a tensor in place is told from the calls that only read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.operators.writes import may_write

_X = torch.zeros(2)


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (torch.relu_, (_X,), {}),
        (Tensor.mul_, (_X, 2.0), {}),
        (Tensor.__iadd__, (_X, 2.0), {}),
        (Tensor.__setitem__, (_X, 0, 1.0), {}),
        (F.relu, (_X,), {"inplace": True}),
        (F.hardswish, (_X, True), {}),
        (F.leaky_relu, (_X, 0.1, True), {}),
        (torch.neg, (_X,), {"out": _X}),
    ],
)
def test_calls_that_write(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert may_write(func, args, kwargs)


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (torch.relu, (_X,), {}),
        (Tensor.__add__, (_X, 2.0), {}),
        (Tensor.__getitem__, (_X, 0), {}),
        (F.relu, (_X,), {"inplace": False}),
        (F.dropout, (_X, 0.5, True), {}),
        (F.linear, (_X, _X), {"bias": None}),
        (torch.neg, (_X,), {"out": None}),
    ],
)
def test_calls_that_only_read(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert not may_write(func, args, kwargs)
