"""Holding out a part of every class for validation: stratified, seeded, the same for the same files."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from s2a_core.datasets.types import Sample


def stratified_split(
    samples: Sequence[Sample], val_fraction: float, seed: int, together: Mapping[str, int] | None = None
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """(train, val): of each class about `val_fraction` of its samples, at least one where it has two.

    together: sample name -> group; the samples of a group (files of equal content) stay on one side.
    Depends on the names, labels and seed only, not on the order in which a file system lists files.
    """
    by_class: dict[int, dict[object, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in sorted(samples, key=lambda s: (s.label, s.name)):
        group = (together or {}).get(sample.name, sample.name)
        by_class[sample.label][group].append(sample)
    train: list[Sample] = []
    val: list[Sample] = []
    for label, groups in sorted(by_class.items()):
        units = list(groups.values())
        random.Random(f"{seed}:{label}").shuffle(units)
        total = sum(map(len, units))
        wanted = max(1, round(total * val_fraction)) if len(units) > 1 else 0
        held = 0
        for position, unit in enumerate(units):
            is_last_for_training = position == len(units) - 1 and held == sum(map(len, units[:position]))
            if held < wanted and not is_last_for_training:
                val.extend(unit)
                held += len(unit)
            else:
                train.extend(unit)
    return tuple(train), tuple(val)
