"""The peak of a step: weights, gradients, optimizer state, input, held bytes and working set, added up in bytes.

    peak = weights + buffers + gradients + optimizer + samples * (input + held) + working(samples) + margin

The working set belongs to the most demanding way of running that the plan uses; it was measured above held bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from s2a_core.profiling.types import Profile
from s2a_core.storage import FrozenWeights, Storage

GRADIENT_BYTES = 4  # fp32
OPTIMIZER_BYTES = 8  # AdamW keeps two fp32 moments
WAYS = ("exact", "codes", "region", "block")
# Share of the moving part added on top until measured pairs replace it.
MARGIN = 0.02


def weights_bytes(profile: Profile, frozen_weights: FrozenWeights) -> int:
    """Bytes of all parameters; frozen ones at half when kept in bf16."""
    saved = profile.frozen_bytes // 2 if frozen_weights == "bf16" else 0
    return profile.params_bytes - saved


def held_per_sample(profile: Profile, sites: Mapping[str, Storage]) -> int:
    """Bytes a sample holds for backward under a choice of storages; what a used region or block absorbs is free."""
    total = profile.unlisted_bytes_per_sample
    for site in profile.sites:
        absorbed = any(
            absorber is not None and sites.get(absorber, Storage.NONE) is not Storage.NONE
            for absorber in (site.region, site.block)
        )
        if absorbed:
            continue
        default = Storage.NONE if site.op in ("region", "block") else Storage.EXACT
        chosen = sites.get(site.name, default)
        total += next((o.bytes_per_sample for o in site.options if o.storage is chosen), 0)
    return total


def way_of(profile: Profile, sites: Mapping[str, Storage]) -> str:
    """The most demanding way of running among the sites in use: exact < codes < region < block."""
    ops = {site.op: True for site in profile.sites if sites.get(site.name) not in (None, Storage.NONE, Storage.EXACT)}
    if "block" in ops:
        return "block"
    if "region" in ops:
        return "region"
    return "codes" if ops else "exact"


def breakdown(
    profile: Profile, sites: Mapping[str, Storage], samples: int, frozen_weights: FrozenWeights
) -> dict[str, int]:
    """The parts of the peak in bytes, for `samples` samples at a time."""
    way = way_of(profile, sites)
    working = max(
        (profile.working[w] for w in WAYS[: WAYS.index(way) + 1] if w in profile.working and _is_used(w, way)),
        key=lambda w: w.constant_bytes + samples * w.bytes_per_sample,
    )
    moving = samples * held_per_sample(profile, sites) + working.constant_bytes + samples * working.bytes_per_sample
    return {
        "weights": weights_bytes(profile, frozen_weights),
        "buffers": profile.buffers_bytes,
        "gradients": GRADIENT_BYTES * profile.trainable_params,
        "optimizer": OPTIMIZER_BYTES * profile.trainable_params,
        "input": samples * profile.input_bytes_per_sample,
        "held": samples * held_per_sample(profile, sites),
        "working": working.constant_bytes + samples * working.bytes_per_sample,
        "margin": ceil(MARGIN * moving),
    }


def _is_used(way: str, used: str) -> bool:
    return way == used or way != "exact"
