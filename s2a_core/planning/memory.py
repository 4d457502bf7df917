"""The peak of a step: at every site's turn, forward and backward, and in the optimizer's step and the evaluation.

    at site k:  weights + buffers + optimizer + input + gradients + sum_{j <= k} held_j + work_k
    step:       weights + buffers + optimizer + input + gradients + temporaries
    evaluation: weights + buffers + optimizer + input + forward pass

Gradients are there in full from the second micro-batch of a step on; in the first they are part of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from s2a_core.profiling.types import Option, Profile, Segment, SiteProfile
from s2a_core.storage import WHOLE, FrozenWeights, Storage, kept_as

GRADIENT_BYTES = 4  # fp32
OPTIMIZER_BYTES = 8  # AdamW keeps two fp32 moments
Beside = tuple[str | None, str | None]
# Share of the moving part added on top until measured pairs replace it.
MARGIN = 0.005


@dataclass(frozen=True)
class Moment:
    """Bytes at one site's turn: held by sites so far, and its own work. is_backward: which of its turns is larger."""

    site: str
    held: int
    work: int
    is_backward: bool = False


def weights_bytes(profile: Profile, frozen_weights: FrozenWeights) -> int:
    """Bytes of all parameters; frozen ones at half when kept in bf16."""
    saved = profile.frozen_bytes // 2 if frozen_weights == "bf16" else 0
    return profile.params_bytes - saved


def chosen_options(profile: Profile, sites: Mapping[str, Storage]) -> Iterator[tuple[SiteProfile, Option]]:
    """Sites that hold something of their own, each with its chosen option; absorbed ones are out."""
    for site in profile.sites:
        if any(p is not None and sites.get(p, Storage.NONE) is not Storage.NONE for p in (site.region, site.block)):
            continue
        default = Storage.NONE if site.op in WHOLE else Storage.EXACT
        chosen = sites.get(site.name, default)
        for option in site.options:
            if option.storage is chosen:
                yield site, option


def way_of(site: SiteProfile, storage: Storage) -> str | None:
    """The way of running that a storage means: exact, codes, region or block; None for a region that is not used."""
    if site.op in WHOLE:
        return None if storage is Storage.NONE else site.op
    return "exact" if storage is Storage.EXACT else "codes"


def chosen_ways(profile: Profile, sites: Mapping[str, Storage]) -> list[tuple[SiteProfile, str | None, Beside]]:
    """Every site that holds something of its own, how it runs, and how its neighbours do."""
    chosen = [(site, way_of(site, option.storage)) for site, option in chosen_options(profile, sites)]
    ways = [None, *(way for _, way in chosen), None]
    return [(site, way, (ways[k], ways[k + 2])) for k, (site, way) in enumerate(chosen)]


def work_of(
    site: SiteProfile, way: str | None, samples: int, is_fresh: bool, chunk: int = 1, beside: Beside = (None, None)
) -> tuple[int, bool]:
    """Most bytes of a site's turns beyond what is held, and whether backward needs them.

    beside: the ways of running of the sites before and after it.
    """
    turns = turns_of(site, way, beside)
    sizes = [turn.at(samples, is_fresh, chunk) for turn in turns]
    if not sizes:
        return 0, False
    top = max(sizes)
    return max(top, 0), turns[sizes.index(top)].is_backward


def turns_of(site: SiteProfile, way: str | None, beside: Beside) -> Sequence[Segment]:
    """A site's turns. An exact site's reach into what no site is listed for: backward into what comes before it,
    forward into what follows. Where that runs as a region or block, it has turns of its own for this.
    """
    if way is None:
        return ()
    turns = site.work.get(way) or next(iter(site.work.values()), ())
    if way != "exact":
        return turns
    before, after = beside
    for other, is_backward in ((before, True), (after, False)):
        instead = [t for t in site.work.get(other or "", ()) if t.is_backward == is_backward] if other in WHOLE else []
        if instead:
            turns = (*(t for t in turns if t.is_backward != is_backward), *instead)
    return turns


def held_bytes(profile: Profile, sites: Mapping[str, Storage], samples: int) -> int:
    """Bytes held for backward at the end of forward."""
    return sum(size for _, size in _held(profile, sites, samples))


def course(
    profile: Profile, sites: Mapping[str, Storage], samples: int, is_fresh: bool, chunk: int = 1
) -> list[Moment]:
    """Every site's turn in forward order. is_fresh: in the first micro-batch of a step, gradients counted as work.

    chunk: samples per chunk of regions and blocks.
    """
    moments = [Moment("", 0, _start(profile, sites, samples, is_fresh))]
    held: dict[str, int] = {}
    for name, size in _held(profile, sites, samples):
        held[name] = held.get(name, 0) + size
    total = 0
    for site, way, beside in chosen_ways(profile, sites):
        total += held.get(site.name, 0)
        work, is_backward = work_of(site, way, samples, is_fresh, chunk, beside)
        moments.append(Moment(site.name, total, work, is_backward))
    return moments


def _start(profile: Profile, sites: Mapping[str, Storage], samples: int, is_fresh: bool) -> int:
    """Bytes before the first site's turn, as the first site that is used runs."""
    ways = (way_of(site, option.storage) for site, option in chosen_options(profile, sites))
    first = next((way for way in ways if way is not None), None)
    segments = profile.start.get(first or "") or [s for way in profile.start.values() for s in way]
    return max((segment.at(samples, is_fresh) for segment in segments), default=0)


def _held(profile: Profile, sites: Mapping[str, Storage], samples: int) -> Iterator[tuple[str, int]]:
    """(site, bytes) of everything held; a shared tensor once, by the first site that keeps it."""
    exact = set()
    for site, option in chosen_options(profile, sites):
        yield site.name, option.fixed_bytes + samples * option.bytes_per_sample
        if option.storage is Storage.EXACT:
            exact.add(site.name)
    for tensor in profile.shared:
        holder = next((name for name in tensor.sites if name in exact), None)
        if holder is not None:
            yield holder, tensor.fixed_bytes + samples * tensor.bytes_per_sample


def held_by_storage(profile: Profile, sites: Mapping[str, Storage], samples: int) -> dict[str, int]:
    """Bytes held by the sites of each storage, of regions and blocks under `region b8`; shared tensors are exact."""
    chosen = chosen_options(profile, sites)
    names = {s.name: kept_as(s.op if s.op in WHOLE else "", o.storage) for s, o in chosen}
    found: dict[str, int] = {}
    for site, size in _held(profile, sites, samples):
        found[names[site]] = found.get(names[site], 0) + size
    return {name: size for name, size in found.items() if size}


def evaluation_bytes(profile: Profile, sites: Mapping[str, Storage], samples: int, chunk: int = 1) -> int:
    """Peak of a forward pass without gradients; regions and blocks help where all of them are used."""
    return profile.evaluation[evaluation_way(profile, sites)].at(samples, chunk)


def evaluation_way(profile: Profile, sites: Mapping[str, Storage]) -> str:
    """The way of running an evaluation: a region's or block's where every one of them is used, else exact."""
    for way in reversed(WHOLE):
        names = [s.name for s in profile.sites if s.op == way]
        if names and way in profile.evaluation and all(_is_used(sites.get(name)) for name in names):
            return way
    return "exact"


def _is_used(storage: Storage | None) -> bool:
    return storage is not None and storage is not Storage.NONE


def fixed_parts(profile: Profile, samples: int, frozen_weights: FrozenWeights) -> dict[str, int]:
    """What is alive all the time, in bytes."""
    return {
        "weights": weights_bytes(profile, frozen_weights),
        "buffers": profile.buffers_bytes,
        "optimizer": OPTIMIZER_BYTES * profile.trainable_params,
        "input": samples * profile.input_bytes_per_sample,
    }


def breakdown(
    profile: Profile,
    sites: Mapping[str, Storage],
    samples: int,
    frozen_weights: FrozenWeights,
    accumulates: bool = True,
    chunk: int = 1,
) -> dict[str, int]:
    """The parts of the peak in bytes at `samples` samples. accumulates: a step has more than one micro-batch."""
    fixed = fixed_parts(profile, samples, frozen_weights)
    gradients = GRADIENT_BYTES * profile.trainable_params
    held = held_bytes(profile, sites, samples)
    worst = max(course(profile, sites, samples, not accumulates, chunk), key=lambda m: m.held + m.work)
    # What moves during a step, above the fixed parts, at the worst moment of each kind.
    training = worst.held + worst.work + (gradients if accumulates else 0)
    evaluation = evaluation_bytes(profile, sites, samples, chunk)
    if evaluation_way(profile, sites) == "exact" and any(
        _is_used(sites.get(s.name)) for s in profile.sites if s.op in WHOLE
    ):
        evaluation = min(evaluation, training)  # some regions run in chunks: less alive than in the same forward pass
    moving = max(training, gradients + profile.optimizer_bytes, evaluation, held)
    shown = gradients if accumulates or moving > training or worst.is_backward else 0
    shown = min(shown, moving - held)
    return {
        "weights": fixed["weights"],
        "buffers": fixed["buffers"],
        "gradients": shown,
        "optimizer": fixed["optimizer"],
        "input": fixed["input"],
        "held": held,
        "working": moving - held - shown,
        "margin": ceil(MARGIN * moving),
    }
