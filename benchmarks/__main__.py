"""`python -m benchmarks`: measure, write docs/bench, fill the README's tables."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks import budgets, overhead, planner, plots, prediction, scaling, suite, tables
from benchmarks.results import Results, Row, provenance

log = logging.getLogger("benchmarks")
# What is measured beside the contestants, by its field of Results.
PARTS: dict[str, Callable[[], Iterable[Any]]] = {
    "curves": scaling.curves,
    "planner": planner.runs,
    "predictions": prediction.runs,
    "budgets": budgets.runs,
    "overhead": overhead.runs,
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; weights are given as MODEL=FILE.safetensors."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more models, precisions and repeats (an hour or two)")
    parser.add_argument("--models", nargs="*", default=None, help="only these of the suite")
    parser.add_argument("--weights", nargs="*", default=[], metavar="MODEL=FILE", help="real weights for a model")
    parser.add_argument("--repeats", type=int, default=None, help="timed pairs per contestant")
    parser.add_argument("--no-curves", action="store_true", help="only the contestants: no curves, no predictions")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these parts again; the rest stays as it is")
    parser.add_argument("--output", type=Path, default=Path("docs/bench"))
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    parser.add_argument("--render-only", action="store_true", help="tables and plots from results.json, no measuring")
    args = parser.parse_args(argv)
    args.given = [word for word in (sys.argv[1:] if argv is None else argv) if word != "--render-only"]
    return args


def measured(args: argparse.Namespace) -> Results:
    """Run the suite; the result file is rewritten after every model, so an interrupted run keeps what it has."""
    weights = {name: Path(path) for name, _, path in (item.partition("=") for item in args.weights)}
    wanted = [c for c in (suite.FULL if args.full else suite.QUICK) if not args.models or c.model in args.models]
    command = " ".join(["python -m benchmarks", *args.given])
    repeats = args.repeats or (7 if args.full else 2)
    contestants = suite.CONTESTANTS if args.full else suite.QUICK_CONTESTANTS
    results = Results(**provenance(command, "cpu", torch.get_num_threads()))
    rows: list[Row] = []
    began = time.monotonic()
    for case in wanted:
        model, _ = suite.create(case, weights, "cpu")
        x = torch.zeros(1, 3, case.image_size, case.image_size, dtype=suite.DTYPES[case.precision])
        results.floors[f"{case.model} {case.precision}"] = suite.floor(model, x)
        rows += suite.run(case, contestants, weights=weights, repeats=repeats)
        results = dataclasses.replace(results, rows=tuple(rows))
        results.write(args.output / "results.json")
    if not args.no_curves:
        results = with_parts(results, PARTS)
    results = dataclasses.replace(results, seconds=round(time.monotonic() - began, 1))
    results.write(args.output / "results.json")
    return results


def with_parts(results: Results, names: Iterable[str]) -> Results:
    """The results with these of PARTS measured."""
    for name in names:
        log.info("%s", name)
        part: dict[str, Any] = {name: tuple(PARTS[name]())}
        results = dataclasses.replace(results, **part)
    return results


def main(argv: list[str] | None = None) -> int:
    """Exit status 0."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    args = arguments(argv)
    file = args.output / "results.json"
    if args.only:
        results = with_parts(Results.read(file), args.only)
        results.write(file)
    else:
        results = Results.read(file) if args.render_only else measured(args)
    (args.output / "tables.md").write_text(tables.document(results))
    plots.peaks(results, args.output / "peak.svg")
    plots.curves(results, args.output / "curves.svg")
    tables.fill(args.readme, results)
    log.info("wrote %s/results.json, tables.md, peak.svg and the tables of %s", args.output, args.readme)
    return 0


if __name__ == "__main__":
    sys.exit(main())
