"""Markdown tables of a result file, and the part of the README they fill."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks import details
from benchmarks.contestants import OURS, PUBLISHED
from benchmarks.details import megabytes
from benchmarks.ours import CHUNK
from benchmarks.results import Results, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
GOOD_COSINE = 0.99
SHALLOW = ("head only (linear probe)", "LST-like side network")
FLOOR_SAYS = (
    "Weights, the temporaries of one sample's forward pass, and for every sample of the batch the fewest bytes that "
    "any method here holds at a gradient cosine of at least 0.99. s2a: the whole peak of the row that needs least, "
    "weights included; it is above the floor by what its backward pass works on."
)
BUDGETS_GIB = (4, 8, 16, 24)


def cell_name(row: Row) -> str:
    """The contestant's name, with what kind it is where that is not plain."""
    return f"**{row.contestant}**" if row.kind == OURS else row.contestant + (" †" if row.kind == PUBLISHED else "")


def cases(results: Results) -> list[tuple[str, str]]:
    """(model, precision) in the order they were measured."""
    return list(dict.fromkeys((row.model, row.precision) for row in results.rows))


def detail(results: Results, model: str, precision: str) -> str:
    """The table of one model: every contestant, every measure."""
    rows = [r for r in results.rows if (r.model, r.precision) == (model, precision)]
    lines = [
        "| contestant | trained | held MB/sample | peak MB/sample | peak / bias+ckpt | whole peak MB | step / bias "
        "| cosine |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    base = next((r.peak_bytes_per_sample for r in rows if r.contestant == "bias + checkpointing"), None)
    for row in rows:
        if row.reason:
            lines.append(f"| {cell_name(row)} | {row.reason} | | | | | | |")
            continue
        spread = row.step_ratio_to_bias
        time = f"{spread.median:.2f} ({spread.low:.2f}..{spread.high:.2f})" if spread else "-"
        peak = row.peak_bytes_per_sample
        ratio = f"{peak / base:.2f}" if peak is not None and base else "-"
        cosine = "exact" if row.gradient_cosine is None else f"{row.gradient_cosine:.4f}"
        lines.append(
            f"| {cell_name(row)} | {row.trainable_params:,} | {megabytes(row.held_bytes_per_sample)} "
            f"| {megabytes(peak)} | {ratio} | {megabytes(row.peak_bytes)} | {time} | {cosine} |"
        )
    first = rows[0]
    return (
        f"**{model}**, {precision}, {first.image_size} px, batches {first.batches[0]} and {first.batches[1]}, "
        f"weights {first.weights}, {first.device}\n\n" + "\n".join(lines)
    )


def is_deep(row: Row) -> bool:
    """Whether it was measured, trains the whole depth and has a good enough gradient."""
    is_good = row.gradient_cosine is None or row.gradient_cosine >= GOOD_COSINE
    return row.peak_bytes_per_sample is not None and is_good and row.contestant not in SHALLOW


def best(rows: Iterable[Row]) -> Row | None:
    """The row with the smallest peak per sample among those that train the whole depth well enough."""
    return min(filter(is_deep, rows), key=lambda r: r.peak_bytes_per_sample or 0, default=None)


def overview(results: Results) -> str:
    """One line per model: the best of s2a beside the best of the others that train the whole depth."""
    lines = [
        "| model | full | bias | bias + ckpt | probe | best other at cosine >= 0.99 | s2a, same cosine | s2a is "
        "| its step / full's | / bias + ckpt's |",
        "|---|--:|--:|--:|--:|--:|--:|---|--:|--:|",
    ]
    for model, precision in cases(results):
        rows = [r for r in results.rows if (r.model, r.precision) == (model, precision)]
        by_name = {r.contestant: r for r in rows}
        ours = best(r for r in rows if r.kind == OURS)
        other = best(r for r in rows if r.kind != OURS)
        named = ("full fine-tuning", "bias", "bias + checkpointing", SHALLOW[0])
        cells = [megabytes(by_name[n].peak_bytes_per_sample) if n in by_name else "-" for n in named]
        verdict = "-"
        if ours and other and ours.peak_bytes_per_sample is not None and other.peak_bytes_per_sample:
            ratio = ours.peak_bytes_per_sample / other.peak_bytes_per_sample
            verdict = f"best, {ratio:.2f}x" if ratio <= 1 else f"**not best, {ratio:.2f}x**"
        ours_cell = f"{megabytes(ours.peak_bytes_per_sample)} ({ours.contestant})" if ours else "none reaches it"
        other_cell = f"{megabytes(other.peak_bytes_per_sample)} ({other.contestant})" if other else "-"
        times = " | ".join(_step_over(ours, by_name.get(name)) for name in (named[0], named[2]))
        lines.append(
            f"| {model} {precision} | {' | '.join(cells)} | {other_cell} | {ours_cell} | {verdict} | {times} |"
        )
    return "\n".join(lines)


def _step_over(row: Row | None, other: Row | None) -> str:
    """How long a step of one takes over another's, both paired with stock bias tuning."""
    if row is None or other is None or row.step_ratio_to_bias is None or other.step_ratio_to_bias is None:
        return "-"
    return f"{row.step_ratio_to_bias.median / other.step_ratio_to_bias.median:.2f}"


def section(results: Results) -> str:
    """What stands in the README between the two markers."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results.versions.items()))
    took = f", {results.seconds / 60:.0f} minutes" if results.seconds else ""
    return "\n".join(
        [
            BEGIN,
            "",
            "Peak of one forward and backward pass, MB (10^6 bytes) per sample: slope between two batches, by the "
            "allocator's events. Its step: the named s2a row's, over full fine-tuning's and over that of bias tuning "
            "with checkpointing.",
            "",
            overview(results),
            "",
            "![Peak memory per sample of every contestant on every model](docs/bench/peak.svg)",
            "",
            *_budgets(results),
            *_curves(results),
            "† written by us from the paper, not the authors' program. The probe and the side network train nothing "
            "inside the backbone, so they are shown, not ranked. Random weights make some errors look smaller "
            "than they are. All contestants: [docs/bench/tables.md](docs/bench/tables.md).",
            "",
            f"Measured {results.date} on {results.machine['device']}, {results.machine['num_threads']} threads, with "
            f"{versions}; `{results.command}`{took}. **Not run on a GPU.**"
            if results.machine["device"] == "cpu"
            else f"Measured {results.date} on {results.machine['device']} with {versions}; `{results.command}`.",
            "",
            END,
        ]
    )


def _budgets(results: Results) -> list[str]:
    """The table of budgets, where there is one."""
    if not results.budgets:
        return []
    return [f"s2a inside a budget. {details.BUDGETS_SAY}", "", details.budgets(results), ""]


def _curves(results: Results) -> list[str]:
    """The plot of curves and what to see in it, where they were measured."""
    if not results.curves:
        return []
    return [
        f"![Peak and time of {results.curves[0].model} as batch, image size and depth grow](docs/bench/curves.svg)",
        "",
        "Straight in the batch and in the depth, quadratic in the image's side, as the number of tokens is. s2a's line "
        f"bends at a batch of {CHUNK}: up to there the working set of a region grows with the batch, from there on "
        "regions run in chunks of that many samples and only what is kept grows.",
        "",
    ]


def largest_batch(row: Row, budget_bytes: int) -> int:
    """Samples that fit, extrapolated along the measured slope; weights and AdamW's two fp32 states included."""
    assert row.peak_bytes_per_sample is not None
    assert row.peak_bytes is not None
    assert row.model_bytes is not None
    assert row.trainable_params is not None
    constant = row.peak_bytes - row.batches[1] * row.peak_bytes_per_sample + row.model_bytes + 8 * row.trainable_params
    return max(0, (budget_bytes - max(constant, 0)) // max(1, row.peak_bytes_per_sample))


def largest_batches(results: Results, model: str, precision: str) -> str:
    """The table of largest batches of one model."""
    lines = [
        "| contestant | " + " | ".join(f"{gib} GiB" for gib in BUDGETS_GIB) + " |",
        "|---|" + "--:|" * len(BUDGETS_GIB),
    ]
    for row in results.rows:
        if (row.model, row.precision) == (model, precision) and not row.reason:
            cells = " | ".join(f"{largest_batch(row, gib * 2**30):,}" for gib in BUDGETS_GIB)
            lines.append(f"| {cell_name(row)} | {cells} |")
    return "\n".join(lines)


def document(results: Results) -> str:
    """docs/bench/tables.md: every table."""
    parts = [
        "# Every contestant on every model",
        "Made by `make bench` from `results.json`. Peak and held are slopes per sample in MB (10^6 bytes), the whole "
        "peak that of the larger batch above weights, gradients and input; s2a's regions and blocks run in chunks; "
        "`step / bias` is the median of paired ratios to stock bias tuning in the same run, with the smallest and "
        "largest; † written by us from the paper.",
        *(detail(results, model, precision) for model, precision in cases(results)),
    ]
    if results.rows:
        model, precision = cases(results)[0]
        parts += [
            f"## Largest batch of {model} {precision}, extrapolated",
            "Along the measured slope, with weights, gradients and AdamW's states; not run at these sizes.",
            largest_batches(results, model, precision),
        ]
    if results.floors:
        parts += ["## The floor", FLOOR_SAYS, floors(results)]
    parts += details.sections(results)
    return "\n\n".join(parts) + "\n"


def floors(results: Results) -> str:
    """The floor of each model at the larger batch, and how near the best of s2a comes."""
    lines = [
        "| model | batch | weights MB | forward, one sample MB | fewest held MB/sample | floor MB | s2a MB "
        "| s2a / floor |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for model, precision in cases(results):
        parts = results.floors[f"{model} {precision}"]
        rows = [r for r in results.rows if (r.model, r.precision) == (model, precision) and is_deep(r)]
        held = min((r.held_bytes_per_sample or 0 for r in rows), default=0)
        ours = min((r for r in rows if r.kind == OURS), key=lambda r: r.peak_bytes or 0, default=None)
        batch = results.rows[0].batches[1] if ours is None else ours.batches[1]
        floor = parts["weight_bytes"] + parts["forward_working_bytes"] + batch * held
        whole = None if ours is None else (ours.peak_bytes or 0) + (ours.model_bytes or 0)
        ratio = "-" if whole is None else f"{whole / floor:.2f}"
        sizes = (parts["weight_bytes"], parts["forward_working_bytes"], held, floor, whole)
        lines.append(f"| {model} {precision} | {batch} | {' | '.join(map(megabytes, sizes))} | {ratio} |")
    return "\n".join(lines)


def fill(readme: Path, results: Results) -> None:
    """Replace the part of the README between the markers; ValueError when it has none."""
    text = readme.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme} has no {BEGIN} ... {END}")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    readme.write_text(before + section(results) + after)
