"""Random small profiles with everything a real one may have: nested regions, shared tensors, neighbours, starts."""

from __future__ import annotations

import random
from dataclasses import replace

from s2a_core.profiling.live import LiveTensor
from s2a_core.profiling.types import Option, Profile, Segment, SharedStorage, SiteProfile, WorkingSet
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of

WIDTHS = (Storage.B8, Storage.B4)


def segments(draw: random.Random) -> tuple[Segment, ...]:
    """A turn forward and, mostly, one or two backward."""
    made = []
    for is_backward in (False, True, True)[: draw.choice((1, 2, 3))]:
        sizes = [draw.randrange(4000) for _ in range(4)]
        alone = (draw.randrange(6000), draw.randrange(6000)) if draw.random() < 0.3 else (None, None)
        made.append(Segment(*sizes, *alone, chunk_bytes=draw.randrange(500), is_backward=is_backward))
    return tuple(made)


def leaf(draw: random.Random, name: str, region: str | None, block: str | None) -> SiteProfile:
    """An operator's site; some can only be exact, some reach into regions and blocks beside them."""
    widths = draw.sample(WIDTHS, draw.choice((0, 1, 1, 2)))
    options = [Option(Storage.EXACT, draw.randrange(500, 9000), 0.0, 0.0, draw.randrange(50))]
    options += [Option(w, draw.randrange(100, 3000), draw.uniform(0.01, 1), 0.05, draw.randrange(50)) for w in widths]
    modes = ["exact", "codes", *(mode for mode in ("region", "block") if draw.random() < 0.5)]
    return SiteProfile(name, "gelu", (4,), tuple(options), region, block, {mode: segments(draw) for mode in modes})


def whole(draw: random.Random, name: str, op: str, block: str | None = None) -> SiteProfile:
    """A region or block: not used, or at one of two widths."""
    coded = (Option(w, draw.randrange(100, 2500), draw.uniform(0.01, 1), 0.1) for w in WIDTHS)
    options = (Option(Storage.NONE, 0, 0.0, 0.0), *coded)
    return SiteProfile(name, op, (4,), options, None, block, {op: segments(draw)})


def random_profile(seed: int) -> Profile:
    """About eight sites: loose ones around a block or two, whose insides may be a region."""
    draw = random.Random(seed)
    sites: list[SiteProfile] = [leaf(draw, "stem:gelu", None, None)] if draw.random() < 0.6 else []
    for b in range(draw.choice((0, 1, 1, 2))):
        has_block, has_region = draw.random() < 0.7, draw.random() < 0.7
        block, region = (f"{b}:block" if has_block else None), (f"{b}:region" if has_region else None)
        sites += [whole(draw, block, "block")] if block else []
        sites += [leaf(draw, f"{b}.a:gelu", None, block)] if draw.random() < 0.5 else []
        sites += [whole(draw, region, "region", block)] if region else []
        sites += [leaf(draw, f"{b}.{j}:gelu", region, block) for j in range(draw.choice((1, 2)))]
        # What holds bytes although its block runs as a whole is listed as outside of it.
        sites += [leaf(draw, f"{b}.out:gelu", None, None)] if draw.random() < 0.3 else []
    sites += [leaf(draw, "norm:gelu", None, None)] if draw.random() < 0.7 or not sites else []
    leaves = [s.name for s in sites if s.op == "gelu"]
    shared = tuple(
        SharedStorage(tuple(draw.sample(leaves, min(len(leaves), draw.choice((2, 3))))), draw.randrange(3000), 10)
        for _ in range(draw.choice((0, 1, 2)))
        if len(leaves) > 1
    )
    names = [site.name for site in sites]
    live = []
    for _ in range(draw.choice((0, 1, 3))):
        holders = draw.sample(leaves, min(len(leaves), draw.choice((1, 1, 2))))
        after = names[min(names.index(name) for name in holders) + 1 :]
        if after:
            live.append(LiveTensor(tuple(holders), draw.choice(after), draw.randrange(3000), draw.randrange(50)))
    ops = ["exact", *(op for op in ("region", "block") if any(s.op == op for s in sites))]
    return replace(
        profile_of(tuple(sites), shared=shared, live=tuple(live)),
        trainable_params=draw.choice((10, 500, 4000)),
        start={mode: segments(draw)[:1] for mode in ("exact", "codes", "region", "block") if draw.random() < 0.7},
        evaluation={op: WorkingSet(draw.randrange(3000), draw.randrange(9000)) for op in ops},
        min_micro_batch=draw.choice((1, 1, 2)),
    )
