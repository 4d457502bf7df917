"""The table of docs/accuracy/weights.md: adapters beside frozen weights as numbers, 8-bit and 4-bit codes."""

from __future__ import annotations

import math
from typing import Any

from accuracy_runs import BATCH, BF16
from accuracy_table import OUT, mean_and_error, rows_of

WAYS = ("float", BF16, "int8", "nf4")
WEIGHTS_RESULTS = OUT / "weights.jsonl"
PLAIN, *NARROW = WAYS
HEADING = f"""# Accuracy beside weights in few bits

Made by `python scripts/accuracy.py --weights` from weights.jsonl. Real weights and photos of ../shared/data, the
[protocol of the other adapters](README.md): the same training images, epochs, batch {BATCH} and rates, fp32, CPU;
activations exact. float: frozen weights as they are, fp32; bf16: rounded to that; int8, nf4: the large ones as codes of
8, 4.25 bits.
Final accuracy on the whole validation part, mean ± standard error over seeds. Differences are between runs of one seed.

| weights, photos | adapter | seeds | float % | {" | ".join(f"{name} % | {name} - float" for name in NARROW)} |
|---|---|--:|--:{"|--:|--:" * len(NARROW)}|
"""


def weights_table() -> str:
    """docs/accuracy/weights.md."""
    lines = []
    for (model, dataset, adapter), accuracies in weights_groups().items():
        seeds = sorted(set.intersection(*(set(accuracies.get(name, {})) for name in WAYS)))
        if not seeds:
            continue
        cells = [_figure([accuracies[PLAIN][seed] for seed in seeds])]
        for name in NARROW:
            cells.append(_figure([accuracies[name][seed] for seed in seeds]))
            cells.append(_figure(differences(accuracies, name), "+"))
        lines.append(f"| {model}, {dataset} | {adapter} | {len(seeds)} | {' | '.join(cells)} |\n")
    return HEADING + "".join(lines)


def weights_groups() -> dict[tuple[str, str, str], dict[str, dict[int, float]]]:
    """(model, dataset, adapter) -> how weights are kept -> seed -> accuracy in percent, in order."""
    groups: dict[tuple[str, str, str], dict[str, dict[int, float]]] = {}
    for row in rows_of(WEIGHTS_RESULTS):
        formats = groups.setdefault((row["model"], row["dataset"], row["adapter"]), {})
        formats.setdefault(row["storage"], {})[row["seed"]] = 100 * row["accuracy"]
    return dict(sorted(groups.items()))


def differences(accuracies: dict[str, dict[int, float]], way: str) -> list[float]:
    """Points by which each seed's run beside narrow weights ends above the one beside float weights."""
    narrow, plain = accuracies[way], accuracies[PLAIN]
    return [narrow[seed] - plain[seed] for seed in sorted(set(narrow) & set(plain))]


def _figure(values: list[float], sign: Any = "") -> str:
    mean, error = mean_and_error(values)
    return f"{mean:{sign}.2f}" + ("" if math.isnan(error) else f" ± {error:.2f}")
