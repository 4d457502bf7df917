"""Tensors that sites keep and the model itself still has for a while, and the turns they are alive in. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LiveTensor:
    """A tensor that sites keep when exact, and that the model itself still has when the forward turn of `until` begins.

    In the turns between the first of them and that one it is alive whether or not a site keeps it.
    """

    sites: tuple[str, ...]
    until: str
    bytes_per_sample: int
    fixed_bytes: int


LiveInTurns = dict[str, dict[tuple[str, ...], tuple[int, int]]]


def live_in_turns(order: Sequence[str], tensors: Sequence[LiveTensor]) -> LiveInTurns:
    """Site -> sites before it that keep a tensor alive in its turn, which it does not -> (fixed bytes, per sample)."""
    position = {name: i for i, name in enumerate(order)}
    live: LiveInTurns = {}
    for tensor in tensors:
        places = sorted(position[name] for name in tensor.sites)
        for k in range(places[0] + 1, position[tensor.until] + 1):
            if k in places:
                continue
            holders = tuple(order[place] for place in places if place < k)
            fixed, slope = live.setdefault(order[k], {}).get(holders, (0, 0))
            live[order[k]][holders] = fixed + tensor.fixed_bytes, slope + tensor.bytes_per_sample
    return live
