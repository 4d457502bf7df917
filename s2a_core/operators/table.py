"""`OPERATORS`: every declaration of this package by name, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

from s2a_core.kernels import fit_table, known_table
from s2a_core.kernels.curves import Curve
from s2a_core.operators import (
    activations,
    attention,
    batch_norm,
    convolution,
    dropout,
    generic,
    linear,
    low_rank,
    norms,
    piecewise,
    pooling,
)
from s2a_core.operators.operator import Operator
from s2a_core.operators.smooth import FIRST_ROW_BITS, Smooth
from s2a_core.storage import WHOLE, Storage, StoragePolicy

_FAMILIES = (
    activations, attention, batch_norm, convolution, dropout, generic, linear, low_rank, norms, piecewise, pooling,
)  # fmt: skip


def _declared(families: tuple[ModuleType, ...]) -> Iterator[Operator]:
    """The operators that the modules of families hold."""
    for family in families:
        yield from (value for value in vars(family).values() if isinstance(value, Operator))


OPERATORS: dict[str, Operator] = {operator.name: operator for operator in _declared(_FAMILIES)}
ROUTES: dict[Any, Operator] = {f: operator for operator in OPERATORS.values() for f in operator.functions}
CURVES: dict[str, Curve] = {
    curve.name: curve for operator in OPERATORS.values() if isinstance(operator, Smooth) for curve in operator.curves
}
_NAMES = {spelling: operator.name for operator in OPERATORS.values() for spelling in operator.spellings}

_OF_WHOLE = (Storage.NONE, Storage.B8, Storage.B6, Storage.B5, Storage.B4, Storage.B3)  # NONE: it is not used


def operator_name(func: Callable[..., Any]) -> str:
    """The word for a torch function: `__matmul__` and `torch.matmul` are both `matmul`."""
    name = getattr(func, "__name__", str(func))
    return _NAMES.get(name, name)


def storages_of(name: str) -> tuple[Storage, ...]:
    """Storages a site of this operator, region or block can use, most exact first."""
    if name in WHOLE:
        return _OF_WHOLE
    return OPERATORS[name].storages if name in OPERATORS else (Storage.EXACT,)


def can_be_rounded(name: str) -> bool:
    """Whether the gradient of a stock operator bears rounding of what it saves."""
    return name in OPERATORS and OPERATORS[name].is_roundable


def fit_tables(policy: StoragePolicy, device: torch.device) -> None:
    """Fits the tables that steps under a policy may look up and stores them on the device, once in a process.

    Left to the first step, the fit's memory and time would be measured as the step's.
    """
    for site, storage in policy.sites.items():
        operator = OPERATORS.get(site.rpartition(":")[2].partition("#")[0])
        if storage.bits and isinstance(operator, Smooth):
            for curve in operator.curves:
                for bits in (storage.bits, FIRST_ROW_BITS):
                    fit_table(curve, bits).on(device)
    for fitted in policy.tables:
        known_table(fitted.bits, fitted.borders, fitted.levels).on(device)
