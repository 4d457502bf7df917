"""Which tensors several sites keep, and sites that hold bytes although no operator of ours stands for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from s2a_core.compression import SiteSpec
from s2a_core.profiling.runs import Step
from s2a_core.profiling.timeline import line
from s2a_core.profiling.types import SharedStorage
from s2a_core.storage import Storage


def shared_storages(
    batches: tuple[int, int], steps: tuple[Step, Step], listed: Collection[str]
) -> tuple[SharedStorage, ...]:
    """Tensors that two or more listed sites keep when exact, from the same step on two batches."""
    small, large = (_groups(step, listed) for step in steps)
    shared = []
    for key, size in large.items():
        if key in small:
            constant, slope = line(batches, (small[key], size))
            shared.append(SharedStorage(key[0], slope, max(constant, 0)))
    return tuple(shared)


def _groups(step: Step, listed: Collection[str]) -> dict[tuple[tuple[str, ...], int], int]:
    """(sites, how many such tensors came before) -> bytes."""
    sites: dict[int, dict[str, int]] = {}
    for site, identity, size in step.kept:
        if site in listed:
            sites.setdefault(identity, {})[site] = size
    sizes: dict[tuple[tuple[str, ...], int], int] = {}
    for holders in sites.values():
        if len(holders) > 1:
            names = tuple(holders)
            number = sum(known == names for known, _ in sizes)
            sizes[names, number] = max(holders.values())
    return sizes


def with_unlisted(specs: Sequence[SiteSpec], held: Mapping[str, int]) -> tuple[SiteSpec, ...]:
    """The sites and, as exact only, whatever else held bytes, each after the one it follows. held: forward order."""
    index = {spec.name: i for i, spec in enumerate(specs)}
    after: dict[int, list[SiteSpec]] = {}
    last = -1
    for name in held:
        if name in index:
            last = max(last, index[name])
            continue
        path, _, op = name.partition(":")
        region, block = (_enclosing(specs, path, kind) for kind in ("region", "block"))
        spec = SiteSpec(name, op.split("#")[0], (1,), "float32", (Storage.EXACT,), region, last, block)
        after.setdefault(last, []).append(spec)
    in_order = list(after.get(-1, []))
    for i, spec in enumerate(specs):
        in_order += [spec, *after.get(i, [])]
    return tuple(in_order)


def outside(specs: Sequence[SiteSpec], mode: str, held: Mapping[str, int]) -> tuple[SiteSpec, ...]:
    """Sites that hold bytes although all regions (or blocks) run leave theirs: hooks around modules run them."""
    remaining = []
    for spec in specs:
        if held.get(spec.name, 0) > 0:
            spec = replace(spec, region=None) if mode == "region" else replace(spec, block=None)
        remaining.append(spec)
    return tuple(remaining)


def _enclosing(specs: Sequence[SiteSpec], path: str, kind: str) -> str | None:
    """The region or block whose module contains the module at `path`."""
    for spec in specs:
        module = spec.name.partition(":")[0]
        if spec.op == kind and (path == module or path.startswith(f"{module}.")):
            return spec.name
    return None
