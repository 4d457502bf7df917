"""Run lengths of a mask as COCO writes them: lengths of runs of 0 and 1 in turn, column by column, or their text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10  # of a character of the text: five bits, least first, and a flag


def counts_of(written: Any) -> list[int] | None:
    """The lengths of a list or text; None for anything else, and where one would be negative.

    In the text each length but the first three stands as its difference to the one two places before.
    """
    if isinstance(written, list):
        return written if all(type(count) is int and count >= 0 for count in written) else None
    if not isinstance(written, str):
        return None
    counts: list[int] = []
    number = shift = 0
    for character in written:
        bits = ord(character) - _FIRST
        if not 0 <= bits < 2 * _MORE or shift > 60:
            return None
        number |= (bits & (_MORE - 1)) << shift
        shift += _BITS
        if not bits & _MORE:
            number -= (1 << shift) if bits & _SIGN else 0
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            if counts[-1] < 0:
                return None
            number = shift = 0
    return None if shift else counts


def pixels_of(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """[height, width], true in every second run. counts: as many pixels in all."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T
