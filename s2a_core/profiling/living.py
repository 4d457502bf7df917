"""Until when the model itself keeps the tensors that exact sites keep: they are alive whoever else holds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from s2a_core.batches import Samples, forward, loss_of
from s2a_core.compression import compress
from s2a_core.compression.watch import DroppedTensorRead, Dropping, Watched
from s2a_core.operators import Site
from s2a_core.profiling.live import LiveTensor, live_in_turns
from s2a_core.profiling.runs import no_collection
from s2a_core.profiling.timeline import line
from s2a_core.profiling.types import Segment
from s2a_core.storage import StoragePolicy

Lives = dict[tuple[tuple[str, ...], int], tuple[str, int]]  # (sites, how many such before) -> last turn, bytes


class Living(Dropping):
    """A recorder under which nothing is kept for backward: what is alive afterwards, the model keeps. listed: sites."""

    def __init__(self, listed: Collection[str]) -> None:
        self.listed = listed
        self._tensors: dict[int, tuple[StorageWeakRef, int]] = {}  # while referred to, no storage takes another's place
        self._sites: dict[int, list[str]] = {}
        self._until: dict[int, str] = {}
        self._alive: set[int] = set()

    def begins(self, site: Site) -> None:
        """What is alive lives in the turn that begins."""
        if site.name in self.listed:
            self._alive = {key for key in self._alive if not self._tensors[key][0].expired()}
            self._until.update(dict.fromkeys(self._alive, site.name))

    def packed(self, site: Site, stored: Any, is_owned: bool) -> Watched:
        """Drops what a site keeps, and remembers which tensor it was."""
        if isinstance(stored, Tensor) and not is_owned and site.name in self.listed:
            storage = stored.untyped_storage()
            key = storage._cdata
            self._tensors.setdefault(key, (StorageWeakRef(storage), storage.nbytes()))
            self._alive.add(key)
            if site.name not in self._sites.setdefault(key, []):
                self._sites[key].append(site.name)
        return super().packed(site, stored, is_owned)

    def lives(self) -> Lives:
        """Every tensor that outlived the turn in which a site kept it."""
        lives: Lives = {}
        for key, until in self._until.items():
            sites = tuple(self._sites[key])
            number = sum(known == sites for known, _ in lives)
            lives[sites, number] = until, self._tensors[key][1]
        return lives


def lives(
    model: nn.Module, x: Tensor | Samples, y: Tensor | Samples, precision: str, policy: StoragePolicy,
    listed: Collection[str],
) -> Lives:  # fmt: skip
    """Of one forward pass with everything exact; empty for a model that itself runs backward inside of it."""
    living = Living(listed)
    torch.manual_seed(0)
    try:
        with no_collection(), torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            with compress(model, policy, recorders=(living,)):
                loss_of(forward(model, x), y)
    except DroppedTensorRead:
        return {}
    return living.lives()


def live_tensors(batches: tuple[int, int], of_batches: Sequence[Lives], order: Sequence[str]) -> tuple[LiveTensor, ...]:
    """What lives in turns behind the first site that keeps it, as lines through two batches. order: sites' names."""
    small, large = of_batches
    position = {name: i for i, name in enumerate(order)}
    sizes: dict[tuple[tuple[str, ...], str], tuple[int, int]] = {}
    for key, (until, size) in large.items():
        if key not in small:
            continue
        until = min(until, small[key][0], key=lambda name: position.get(name, -1))
        if position.get(until, -1) > min(position[name] for name in key[0]):
            fixed, slope = line(batches, (small[key][1], size))
            others = sizes.get((key[0], until), (0, 0))
            sizes[key[0], until] = others[0] + max(fixed, 0), others[1] + slope
    return tuple(LiveTensor(sites, until, slope, fixed) for (sites, until), (fixed, slope) in sizes.items())


def without_live(
    segments_of: Mapping[str, tuple[Segment, ...]], live: Sequence[LiveTensor], order: Sequence[str],
    keeping: Collection[str],
) -> dict[str, tuple[Segment, ...]]:  # fmt: skip
    """Forward turns less what lives in them and no site held. keeping: sites that kept theirs in that step."""
    of_turns, less = live_in_turns(order, live), {}
    for site, segments in segments_of.items():
        # All exact, the turn was measured too: where its top comes when these tensors are gone, that is the larger one.
        free = [size for holders, size in of_turns.get(site, {}).items() if not set(holders) & set(keeping)]
        fixed, slope = sum(size[0] for size in free), sum(size[1] for size in free)
        less[site] = tuple(s if s.is_backward else _lowered(s, fixed, slope) for s in segments)
    return less


def _lowered(segment: Segment, fixed: int, slope: int) -> Segment:
    one, fresh_one = segment.one_bytes, segment.fresh_one_bytes
    return replace(
        segment,
        fixed_bytes=segment.fixed_bytes - fixed,
        bytes_per_sample=segment.bytes_per_sample - slope,
        fresh_fixed_bytes=segment.fresh_fixed_bytes - fixed,
        fresh_bytes_per_sample=segment.fresh_bytes_per_sample - slope,
        one_bytes=None if one is None else one - fixed - slope,
        fresh_one_bytes=None if fresh_one is None else fresh_one - fixed - slope,
    )
