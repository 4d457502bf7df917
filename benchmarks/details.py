"""Markdown tables beside the contestants': the planner, predictions of the peak, budgets, where a step's time goes."""

from __future__ import annotations

from benchmarks.results import Results

BUDGETS_SAY = (
    "Bias tuning of the whole depth in fp32, everything counted: weights, gradients, AdamW, activations, evaluation. "
    "By: samples of a micro-batch. The last budget of a model is the smallest that fits. Step and cosine are of the "
    "whole batch, against stock bias tuning."
)


def megabytes(count: int | None) -> str:
    """MB (10^6 bytes) with two digits, as the literature reports per sample."""
    return "-" if count is None else f"{count / 1e6:.2f}"


def sections(results: Results) -> list[str]:
    """Heading, words and table of each kind that was measured."""
    parts: list[str] = []
    if results.planner:
        parts += ["## The planner: time, and optimal against greedy and uniform at equal bytes", planner(results)]
    if results.predictions:
        parts += [
            "## The peak of a training step as each predictor says it",
            "Whole peak (weights, AdamW's states, gradients, input, activations); in brackets the error. Two-point "
            "fit: the line through the measured peaks of batches 2 and 4. MemTracker does not know s2a's "
            "storages.",
            predictions(results),
        ]
    if results.budgets:
        parts += ["## s2a at several budgets", BUDGETS_SAY, budgets(results)]
    if results.overhead:
        parts += [
            "## Where a step's time goes",
            "Step over stock bias tuning's in pairs, and the largest operators of one step, in milliseconds.",
            overhead(results),
        ]
    return parts


def planner(results: Results) -> str:
    """Time and errors of the planner on growing problems."""
    lines = ["| sites | seconds | gap | error, optimal | greedy on codes | uniform |", "|--:|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {r.num_sites} | {r.seconds:.2f} | {r.gap:.1e} | {r.error_optimal:.3f} | {r.error_greedy:.3f} "
        f"| {r.error_uniform:.3f} |"
        for r in results.planner
    ]
    return "\n".join(lines)


def predictions(results: Results) -> str:
    """Predicted beside measured peaks."""

    def said(count: int | None, measured: int) -> str:
        return "-" if count is None else f"{megabytes(count)} ({100 * (count / measured - 1):+.1f} %)"

    lines = [
        "| model | way | batch | measured MB | s2a | two-point fit | MemTracker |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for r in results.predictions:
        cells = [said(n, r.measured_bytes) for n in (r.ours_bytes, r.two_point_bytes, r.mem_tracker_bytes)]
        lines.append(f"| {r.model} | {r.way} | {r.batch} | {megabytes(r.measured_bytes)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def budgets(results: Results) -> str:
    """Plans of one model at several budgets."""
    lines = [
        "| model | full fine-tuning MiB | budget MiB | by | mean bits | predicted MiB | measured MiB | cosine "
        "| step / bias |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in results.budgets:
        full, budget, predicted, measured = (
            f"{n / 2**20:.1f}" for n in (r.full_bytes, r.budget_bytes, r.predicted_bytes, r.measured_bytes)
        )
        lines.append(
            f"| {r.model}, batch {r.batch} | {full} | {budget} | {r.micro_batch} | {r.mean_bits:.1f} | {predicted} "
            f"| {measured} | {r.gradient_cosine:.4f} | {r.step_ratio_to_bias.median:.2f} |"
        )
    return "\n".join(lines)


def overhead(results: Results) -> str:
    """Step time of ways of storing, and its operators."""
    lines = ["| model | way | batch | step / bias | operators, ms |", "|---|---|--:|--:|---|"]
    for r in results.overhead:
        slowest = sorted(r.operators_ms.items(), key=lambda operator: -operator[1])  # a file keeps them by name
        named = ", ".join(f"{name} {ms:.0f}" for name, ms in slowest)
        ratio = f"{r.ratio.median:.3f} ({r.ratio.low:.3f}..{r.ratio.high:.3f})"
        lines.append(f"| {r.model} | {r.way} | {r.batch} | {ratio} | {named} |")
    return "\n".join(lines)
