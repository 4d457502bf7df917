"""Accuracy of every adapter, exact and compressed, with real weights on real photos: the table of docs/accuracy.

    python scripts/accuracy.py [--only TEXT] [--minutes N] [--seeds N]   what is missing, most telling first; the table
    python scripts/accuracy.py --sweep [--only TEXT] [--seeds N]         the rates behind s2a_core/train/recipe.py
    python scripts/accuracy.py --weights [--only TEXT] [--seeds N]       frozen weights in few bits: its own table
    python scripts/accuracy.py --table                                   the tables alone

Needs the weights and photos of ../shared/data. Every finished run is a line of docs/accuracy/results.jsonl and is never
run again; kill it and start it again at will. `compressed` stores everything at 4 bits (the head's input and
LoRA's layers outside regions at 8) with recomputed regions; `planned` is what s2a makes of a third of full
fine-tuning's memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator

from accuracy_runs import DATA, PLANNED, PROTOCOLS, ROOT, SHARED, WEIGHTS, Cell, run_cell
from accuracy_table import ADAPTERS, MARKS, OUT, README, SUMMARY_FOLLOWS, readme_table, rows_of, summary, table
from accuracy_weights import WAYS, WEIGHTS_RESULTS, weights_table

from s2a_core.kernels import enable_native

NUM_SEEDS = 3
LAST = [("norm", "exact"), ("norm", "compressed")]  # when all others are there: a part of `auto` on CNNs
RATES = {
    "full": (1e-4, 3e-4, 2e-4, 1e-3), "head": (1e-3, 3e-3, 1e-2), "lora": (2e-3, 5e-4, 5e-3),
    "prompt": (3e-3, 1e-2, 3e-2), "auto": (6e-3, 3e-3, 9e-3),
}  # fmt: skip
WEIGHTS_ADAPTERS = ("bias", "lora")
DEFAULT_RATES = (3e-3, 1e-3, 8e-3)


def cells(num_seeds: int) -> Iterator[Cell]:
    """The table, most telling first: what the targets compare, then the other adapters, seed by seed."""
    first = [("full", "exact"), ("auto", "exact"), ("auto", "compressed"), ("auto", PLANNED), ("head", "exact")]
    ways = [(adapter, storage) for adapter in ADAPTERS for storage in ("exact", "compressed")]
    rest = [way for way in ways if way not in (*first, *LAST)]
    for part, dataset in itertools.product((first, rest, LAST), ("cifar10", "trashnet6")):
        for seed, model, (adapter, storage) in itertools.product(range(num_seeds), WEIGHTS, part):
            yield Cell(dataset, model, adapter, storage, seed)


def sweep_cells(num_seeds: int) -> Iterator[Cell]:
    """Rates of every adapter, judged by training photos that no run trains on."""
    for dataset, seed, adapter, model in itertools.product(DATA, range(num_seeds), ADAPTERS, WEIGHTS):
        for rate in RATES.get(adapter, DEFAULT_RATES):
            yield Cell(dataset, model, adapter, "exact", seed, rate)


def weight_cells(num_seeds: int) -> Iterator[Cell]:
    """Adapters beside frozen weights as numbers and as codes, activations exact, seed by seed."""
    for adapter, seed in itertools.product(WEIGHTS_ADAPTERS, range(num_seeds)):
        for dataset, model, way in itertools.product(DATA, WEIGHTS, WAYS):
            yield Cell(dataset, model, adapter, way, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="runs whose name holds these words, such as 'mobilenetv2 auto'")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run after so many minutes")
    parser.add_argument("--sweep", action="store_true", help="the learning-rate sweep")
    parser.add_argument("--weights", action="store_true", help="frozen weights as 8-bit and 4-bit codes")
    parser.add_argument("--seeds", type=int, help=f"runs of every row, {NUM_SEEDS} unless told, 1 in a sweep")
    parser.add_argument("--table", action="store_true", help="write the table and stop")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if not options.table:
        if not SHARED.is_dir():
            sys.exit("needs the weights and photos of ../shared/data beside this checkout")
        enable_native()
        path, cells_of, num_seeds = OUT / "results.jsonl", cells, NUM_SEEDS
        if options.sweep:
            path, cells_of, num_seeds = OUT / "sweep.jsonl", sweep_cells, 1
        elif options.weights:
            path, cells_of = WEIGHTS_RESULTS, weight_cells
        began = time.monotonic()
        for cell in cells_of(options.seeds or num_seeds):
            done = {row["key"] for row in rows_of(path)}
            if cell.key in done or not all(word in cell.key.split() for word in options.only.split()):
                continue
            if time.monotonic() - began > 60 * options.minutes:
                break
            row = run_cell(cell, PROTOCOLS[cell.model, cell.dataset])
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            sys.stderr.write(f"{cell.key}: {100 * row['accuracy']:.1f} % in {row['cpu_s']:.0f} s\n")
    (OUT / "README.md").write_text(table())
    (OUT / "weights.md").write_text(weights_table())
    spec = ROOT / "s2a_core" / "adapters" / "spec.py"
    head, _, tail = spec.read_text().partition(SUMMARY_FOLLOWS)
    spec.write_text(head + SUMMARY_FOLLOWS + summary() + tail[tail.index('"""') :])
    before, rest = README.read_text().split(MARKS[0])
    README.write_text(before + MARKS[0] + readme_table() + MARKS[1] + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()
