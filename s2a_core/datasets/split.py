"""Holding out a part of every class, or of all samples, for validation: seeded, the same for the same files."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from s2a_core.datasets.types import Sample
from s2a_core.tasks import CLASSIFICATION
from s2a_core.tasks.task import Target


def stratified_split(
    samples: Sequence[Sample],
    val_fraction: float,
    seed: int,
    together: Mapping[str, int] | None = None,
    stratum: Callable[[Target], int] = CLASSIFICATION.stratum,
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """(train, val): of each stratum about `val_fraction` of its samples, at least one where it has two.

    stratum: of a label; a class is one. together: sample name -> group; the samples of a group (files of equal content)
    stay on one side.
    Depends on the names, labels and seed only, not on the order in which a file system lists files.
    """
    strata: dict[int, dict[object, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in sorted(samples, key=lambda s: (stratum(s.label), s.name)):
        group = (together or {}).get(sample.name, sample.name)
        strata[stratum(sample.label)][group].append(sample)
    train: list[Sample] = []
    val: list[Sample] = []
    for number, groups in sorted(strata.items()):
        units = list(groups.values())
        random.Random(f"{seed}:{number}").shuffle(units)
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
