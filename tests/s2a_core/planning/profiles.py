"""Made-up profiles: blocks of sites with regions, bytes falling and errors rising with fewer bits."""

from __future__ import annotations

import random

from s2a_core.profiling.types import BaselineCost, Option, Profile, Segment, SiteProfile, WorkingSet
from s2a_core.storage import CODES, Storage

MIB = 2**20


def option(storage: Storage, size: int, error: float) -> Option:
    return Option(storage, size, error, 0.0 if storage in (Storage.EXACT, Storage.NONE) else 0.05)


def site(name: str, size: int, scale: float, region: str | None = None, block: str | None = None) -> SiteProfile:
    coded = (option(s, size * (s.bits or 0) // 32 + 8, scale * 2.0 ** -(s.bits or 0)) for s in CODES)
    work = {"exact": (Segment(1000, 2000, 1000, 2000),), "codes": (Segment(1000, 2500, 1000, 2500),)}
    return SiteProfile(name, "gelu", (4, 8), (option(Storage.EXACT, size, 0.0), *coded), region, block, work)


def whole(name: str, op: str, size: int, scale: float, block: str | None = None) -> SiteProfile:
    widths = (Storage.B8, Storage.B6, Storage.B4)
    coded = (option(s, size * (s.bits or 0) // 32, scale * 2.0 ** -(s.bits or 0)) for s in widths)
    work = {op: (Segment(1000, 1500, 1000, 1500), Segment(1200, 1500, 1400, 1500, is_backward=True))}
    return SiteProfile(name, op, (4, 8), (option(Storage.NONE, 0, 0.0), *coded), None, block, work)


def profile_of(sites: tuple[SiteProfile, ...], **changes: object) -> Profile:
    ways = ["exact", *(op for op in ("region", "block") if any(s.op == op for s in sites))]
    fields: dict[str, object] = {
        "model": "made_up",
        "adapter": "bias",
        "image_size": 32,
        "precision": "fp32",
        "device": "cpu",
        "params_bytes": 100_000,
        "frozen_bytes": 80_000,
        "trainable_params": 500,
        "state_bytes": 2000,
        "buffers_bytes": 64,
        "input_bytes_per_sample": 1200,
        "optimizer_bytes": 400,
        "start": {"exact": (Segment(0, 1300, 0, 1300),)},
        "evaluation": {way: WorkingSet(0, 1000) for way in ways},
        "shared": (),
        "step_ms_per_sample": 10.0,
        "sites": sites,
        "baselines": (BaselineCost("full", 1_000_000, 90_000),),
        "calibrated_on": "noise",
        "fingerprint": "f" * 16,
    }
    return Profile(**{**fields, **changes})  # type: ignore[arg-type]


def transformer(depth: int, sites_per_block: int = 4, seed: int = 0) -> Profile:
    draw = random.Random(seed)
    sites: list[SiteProfile] = []
    for i in range(depth):
        region = f"blocks.{i}.mlp:region"
        sites.append(whole(region, "region", 6000, draw.uniform(0.2, 2)))
        for j in range(sites_per_block):
            inside = region if j % 2 else None
            sites.append(site(f"blocks.{i}.part{j}:gelu", draw.randrange(2000, 20000), draw.uniform(0.2, 2), inside))
    return profile_of(tuple(sites))
