"""What results.jsonl of docs/accuracy says: its table, and the summary that the adapters' docstring carries."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from accuracy_runs import BATCH, BITS, PLANNED, ROOT

from s2a_core.adapters.kinds import KINDS
from s2a_core.storage import SENSITIVE_BITS

OUT = ROOT / "docs" / "accuracy"
COMMAND = "make accuracy"
README, MARKS = ROOT / "README.md", ("<!-- accuracy:begin -->\n", "<!-- accuracy:end -->\n")
SUMMARY_FOLLOWS = "compressed is 4 bits, of LoRA outside regions 6.\n\n"
STORAGES = ("exact", "compressed", PLANNED)
# In the order of the rows: what others are compared with, then every kind that `auto` is not a variant of.
FIRST, AS_VARIANTS = ("full", "head", "auto", "bias", "norm", "side", "lora", "prompt"), ("lora-lite", "side-detached")
ADAPTERS = (*FIRST, *(name for name in KINDS if name not in (*FIRST, *AS_VARIANTS)))


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Finished runs; an unfinished last line is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and standard error; NaN for fewer than two values."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def table() -> str:
    """docs/accuracy/README.md."""
    lines = [
        "# Accuracy",
        "",
        f"Made by `{COMMAND}` (scripts/accuracy.py) from results.jsonl; the learning rates come",
        "from sweep.jsonl (`python scripts/accuracy.py --sweep`). Real weights and photos of ../shared/data;",
        "final accuracy on the whole validation part, mean ± standard error over seeds; no epoch is chosen by it.",
        f"compressed: everything at {BITS} bits, the head's input and LoRA's layers outside regions at",
        f"{SENSITIVE_BITS}; regions recomputed.",
        "planned: what s2a trains and stores in a third of full fine-tuning's memory, after its real steps.",
        "`auto` is what s2a chooses for the model: its modules, or all weights of a CNN where they fit the budget.",
        "processor s: of a whole run, its evaluations too; the median over seeds. Runs shared two cores, which",
        "costs up to twice the time of a run alone.",
    ]
    for (dataset, model), ways in groups().items():
        some = next(iter(ways.values()))[0]
        lines += [
            "",
            f"## {model} on {dataset}",
            "",
            f"{some['num_train']} training images at {some['image_size']} px, {some['epochs']} epochs, batch {BATCH}, "
            "fp32, CPU.",
            "",
            "| adapter | storage | seeds | accuracy % | of full % | of the way from head to full % | trained % "
            "| held KiB/image | step peak KiB/image | measured peak MiB | processor s |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        full = _accuracy(ways, "full", "exact")
        head = _accuracy(ways, "head", "exact")
        for adapter, storage in sorted(ways, key=_place):
            found = ways[adapter, storage]
            mean, error = mean_and_error([100 * row["accuracy"] for row in found])
            name = adapter if adapter != "auto" else f"**auto** ({found[0]['adapter_resolved']})"
            lines.append(
                f"| {name} | {_storage(storage, found[0])} | {len(found)} "
                f"| {mean:.2f}{'' if math.isnan(error) else f' ± {error:.2f}'} | {_share(mean, full)} "
                f"| {_way(mean, head, full)} | {100 * found[0]['trained_share']:.2f} "
                f"| {found[0]['held_bytes_per_image'] / 1024:.0f} "
                f"| {found[0]['step_peak_bytes_per_image'] / 1024:.0f} "
                f"| {max(r['measured_peak_bytes'] for r in found) / 2**20:.0f} "
                f"| {sorted(r['cpu_s'] for r in found)[len(found) // 2]:.0f} |"
            )
    return "\n".join(lines) + "\n"


def summary() -> str:
    """The lines of s2a_core/adapters/spec.py: means on the CIFAR-10 subset."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows_of(OUT / "results.jsonl"):
        if row["dataset"] == "cifar10":
            ways = values.setdefault((row["adapter"], row["storage"]), {})
            ways.setdefault(row["model"], []).append(100 * row["accuracy"])
    lines = []
    for adapter, storage in sorted(values, key=_place):
        found = [
            f"{model} {mean_and_error(some)[0]:.1f} ({len(some)})"
            for model, some in sorted(values[adapter, storage].items())
        ]
        lines.append(f"    {adapter} {storage}: " + ", ".join(found))
    return "\n".join(lines) + "\n"


def readme_table() -> str:
    """The rows of README.md between its accuracy marks: accuracy, and in brackets the measured peak in MiB."""
    lines = [
        "| weights, photos | head % (MiB) | full % (MiB) | s2a in a third of full's memory | trains "
        "| s2a's modules at 4 bits | trains |",
        "|---|--:|--:|--:|---|--:|---|",
    ]
    columns = (("head", "exact"), ("full", "exact"), ("auto", PLANNED), ("auto", "compressed"))
    for (dataset, model), ways in groups().items():
        if not all(way in ways for way in columns):  # it comes when its runs are there
            continue
        head, full, planned, coded = (ways[way] for way in columns)
        lines.append(
            f"| {model}, {dataset} | {_cell(head)} | {_cell(full)} | {_cell(planned)} | {_trained(planned[0])} "
            f"| {_cell(coded)} | {_trained(coded[0])} |"
        )
    return "\n".join(lines) + "\n"


def _cell(rows: list[dict[str, Any]]) -> str:
    mean, error = mean_and_error([100 * row["accuracy"] for row in rows])
    return f"{mean:.1f} ± {error:.1f} ({max(row['measured_peak_bytes'] for row in rows) / 2**20:.0f})"


def _trained(row: dict[str, Any]) -> str:
    """What a run trained, in words: all, or the adapter and its share of the backbone."""
    adapter = str(row["adapter_resolved"])
    return "all weights" if adapter == "full" else f"{adapter.replace(',', ', ')}: {100 * row['trained_share']:.2f} %"


def groups() -> dict[tuple[str, str], dict[tuple[str, str], list[dict[str, Any]]]]:
    """(dataset, model) -> (adapter, storage) -> rows, in order."""
    groups: dict[tuple[str, str], dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for row in rows_of(OUT / "results.jsonl"):
        ways = groups.setdefault((row["dataset"], row["model"]), {})
        ways.setdefault((row["adapter"], row["storage"]), []).append(row)
    return dict(sorted(groups.items()))


def _place(way: tuple[str, str]) -> tuple[int, int]:
    """Where (adapter, storage) stands among the rows."""
    return ADAPTERS.index(way[0]), STORAGES.index(way[1])


def _storage(storage: str, row: dict[str, Any]) -> str:
    return f"planned in {row['budget_bytes'] // 2**20} MiB" if storage == PLANNED else storage


def _accuracy(ways: dict[tuple[str, str], list[dict[str, Any]]], adapter: str, storage: str) -> float | None:
    found = ways.get((adapter, storage))
    return mean_and_error([100 * row["accuracy"] for row in found])[0] if found else None


def _share(part: float, whole: float | None) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""


def _way(mean: float, head: float | None, full: float | None) -> str:
    """How much of the distance from the head's accuracy to full fine-tuning's is closed."""
    return _share(mean - head, full - head) if head and full else ""
