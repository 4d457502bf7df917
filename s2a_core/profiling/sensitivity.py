"""Sites that share a measurement, and the widths between two measured ones.

Blocks of one shape repeat the same sites; all of them are stored alike in one step, and since errors of sites add as
independent noise, each carries error / sqrt(n). An error falls by a constant factor per bit (measured on DeiT-tiny:
0.28, 0.13, 0.063, 0.029 at 3, 4, 5, 6 bits), so two widths give the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import exp, log, sqrt

from s2a_core.compression import SiteSpec
from s2a_core.profiling.types import Option
from s2a_core.storage import Storage

CODE_ANCHORS = (Storage.B2, Storage.B4)
REGION_ANCHORS = (Storage.B3, Storage.B6)
_FACTOR_PER_BIT = 2.1
_FLOOR = 1e-7


def groups(specs: Iterable[SiteSpec], by_shape: bool = True) -> list[list[SiteSpec]]:
    """Sites that differ only by the numbers in their names; or else all of an operator that offer the same storages."""
    together: dict[tuple[object, ...], list[SiteSpec]] = {}
    for spec in specs:
        shape = (re.sub(r"\d+", "#", spec.name.split(":")[0]), spec.shape[1:]) if by_shape else ()
        together.setdefault((spec.op, spec.options, *shape), []).append(spec)
    return list(together.values())


def anchors(spec: SiteSpec, is_quick: bool = False) -> tuple[Storage, ...]:
    """Storages of a site that are measured, one width where quick; the others lie between or beyond them."""
    both = REGION_ANCHORS if spec.op in ("region", "block") else CODE_ANCHORS
    wanted = both[:1] if is_quick else both
    uncoded = tuple(s for s in spec.options if not s.bits and s is not spec.options[0])
    return tuple(s for s in wanted if s in spec.options) + uncoded


def between(measured: Mapping[Storage, float], storage: Storage) -> float:
    """Error of a width from the measured ones, log-linear in bits."""
    if storage in measured:
        return measured[storage]
    points = sorted((s.bits, max(e, _FLOOR)) for s, e in measured.items() if s.bits)
    bits = storage.bits
    if not points or bits is None:
        return 0.0
    slope = -log(_FACTOR_PER_BIT)
    if len(points) > 1:
        (low, e_low), (high, e_high) = points[0], points[-1]
        slope = min(max((log(e_high) - log(e_low)) / (high - low), -2 * log(2)), -0.35)
    nearest = min(points, key=lambda point: abs(point[0] - bits))
    return nearest[1] * exp(slope * (bits - nearest[0]))


def nominal_error(storage: Storage) -> float:
    """What a site of unknown sensitivity is taken to contribute."""
    return 0.0 if storage.bits is None else 0.1 * _FACTOR_PER_BIT ** (2 - storage.bits)


def linear_bytes(measured: Mapping[Storage, float], storage: Storage) -> float:
    """Bytes of a width: scales and statistics plus bits per element, a line through two measured widths."""
    if storage in measured:
        return measured[storage]
    points = sorted((s.bits, size) for s, size in measured.items() if s.bits)
    if len(points) < 2 or storage.bits is None:
        return points[0][1] * (storage.bits or 8) / points[0][0] if points else 0.0
    (low, at_low), (high, at_high) = points[0], points[-1]
    return at_low + (at_high - at_low) * (storage.bits - low) / (high - low)


def share(error: float, sites: Sequence[object]) -> float:
    """What one of several alike sites contributes to the error of all together."""
    return error / sqrt(max(len(sites), 1))


def ordered(options: Sequence[Option]) -> tuple[Option, ...]:
    """Fewer bits never promise a smaller error: where noise says so, the larger width's error stands."""
    result, floor = [], 0.0
    for option in options:
        if option.storage.bits:
            floor = max(floor, option.gradient_error)
            option = replace(option, gradient_error=floor)
        result.append(option)
    return tuple(result)
