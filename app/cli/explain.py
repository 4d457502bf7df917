"""A plan in words and bars: where the bytes go, how sites are kept, what more or less budget would change."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from app.cli.tables import boxed
from s2a_core.adapters.spec import adapter_words
from s2a_core.outputs.memory_sections import error_words, site_rows
from s2a_core.outputs.parts import method_words, parts_of
from s2a_core.sizes import format_at_least, format_bytes
from s2a_core.storage import kept_as, storage_words, weight_words, whole_of
from s2a_core.tasks import task_of

Document = Mapping[str, Any]
_BAR_WIDTH = 72


def explain_plan(plan: Document) -> RenderableType:
    """Everything a person needs to judge a plan, in reading order."""
    return Group(
        _heading(plan),
        "",
        budget_bar(plan),
        "",
        sites_table(plan),
        "",
        *(_sections(plan)),
    )


def budget_bar(plan: Document) -> RenderableType:
    """The budget as one bar of coloured parts with their bytes below."""
    predicted = plan.get("predicted") or {}
    parts = parts_of(predicted.get("breakdown") or {})
    total = sum(size for _, size in parts)
    budget = int(plan.get("budget_bytes") or predicted.get("peak_bytes") or 1)
    bar = Text("  ")
    used = 0
    for part, size in parts:
        cells = min(max(1, round(_BAR_WIDTH * size / max(budget, total))), _BAR_WIDTH - used)
        bar.append("█" * cells, style=part.style)
        used += cells
    bar.append("░" * max(0, _BAR_WIDTH - used), style="dim")
    bar.append(f"  {format_bytes(budget)}", style="bold")
    keys = [_key("■", part.style, part.words, size) for part, size in parts]
    left = budget - total
    if left > 0:
        keys.append(_key("□", "dim", "left", left))
    return Group(bar, Padding(Columns(keys, padding=(0, 3)), (0, 0, 0, 2)))


def _key(symbol: str, style: str, name: str, num_bytes: int) -> Text:
    return Text.assemble((f"{symbol} ", style), f"{name} ", (format_bytes(num_bytes), "bold"))


def sites_table(plan: Document) -> RenderableType:
    """Sites grouped by how they are kept, with example names."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, storage in site_rows(plan):
        whole = whole_of(name)
        if not whole or storage != "none":
            groups[whole, storage].append(name)
    held = plan.get("held_by_storage") or {}
    columns = ("kept as", "sites", "bytes", "which")
    table = boxed(*columns, right=("sites", "bytes"), title="what is kept for backward, per micro-batch")
    rows = {key: int(held.get(kept_as(*key), 0)) for key in groups}
    for key in sorted(groups, key=lambda key: (-rows[key], -len(groups[key]))):
        size = format_bytes(rows[key]) if rows[key] else "·"
        table.add_row(storage_words(key[1], key[0]), str(len(groups[key])), size, escape(summarise(groups[key])))
    return table


def baselines_table(plan: Document) -> RenderableType | None:
    """What other ways of training would need, beside this plan."""
    rows = [b for b in plan.get("baselines") or [] if b.get("peak_bytes")]
    if not rows:
        return None
    budget = int(plan.get("budget_bytes") or 0)
    ours = int((plan.get("predicted") or {}).get("peak_bytes") or 0)
    right = ("peak", "against this plan")
    table = boxed("method", *right, "", right=right, title="what other methods would need")
    table.add_row("[good]this plan[/]", f"[good]{format_bytes(ours)}[/]", "[good]1.0x[/]", "[good]fits[/]")
    for row in rows:
        size = int(row["peak_bytes"])
        verdict = "[bad]over the budget[/]" if budget and size > budget else "fits"
        table.add_row(method_words(row["name"]), format_bytes(size), f"{size / max(1, ours):.1f}x", verdict)
    return table


def neighbours_table(plan: Document) -> RenderableType | None:
    """One step less and one step more of budget: what would change, from the frontier."""
    frontier = [point for _, point in sorted({int(p["peak_bytes"]): p for p in plan.get("frontier") or ()}.items())]
    if len(frontier) < 2:
        return None
    peak = int((plan.get("predicted") or {}).get("peak_bytes") or plan.get("budget_bytes") or 0)
    here = min(range(len(frontier)), key=lambda i: abs(frontier[i]["peak_bytes"] - peak))
    columns = ("peak", "gradient error", "step time", "micro-batch")
    table = boxed(*columns, right=columns, title="more or less budget")
    for index in range(max(0, here - 2), min(len(frontier), here + 3)):
        point = frontier[index]
        style = "good" if index == here else None
        table.add_row(
            format_bytes(point["peak_bytes"]),
            _error(point.get("gradient_error")),
            _number(point.get("relative_step_time"), "{:.2f}x"),
            str(point.get("micro_batch", "·")),
            style=style,
        )
    return table


def summarise(names: Sequence[str], most: int = 6) -> str:
    """`blocks.*.mlp.act:gelu (12), norm:layer_norm`: names with their numbers joined, counted."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[re.sub(r"(?<=\.)\d+(?=[.:])", "*", name)] += 1
    words = [f"{pattern} ({n})" if n > 1 else pattern for pattern, n in sorted(counts.items(), key=lambda i: -i[1])]
    return ", ".join(words[:most]) + (f", and {len(words) - most} more kinds" if len(words) > most else "")


def _heading(plan: Document) -> Text:
    predicted = plan.get("predicted") or {}
    batch, micro = plan.get("batch_size"), plan.get("micro_batch")
    text = Text()
    text.append(str(plan.get("model", "")), style="bold cyan")
    text.append(
        f"  {adapter_words(plan.get('adapter'))}, {_precision(plan)}, {plan.get('image_size')} px, batch {batch}"
    )
    if micro and micro != batch:
        text.append(f" = {plan.get('accumulation')} x {micro}")
    if plan.get("task"):
        text.append(f"\n{task_of(plan).sentence(str(plan.get('task_reason') or ''))}")
    text.append("\npredicted peak ")
    text.append(format_bytes(int(predicted.get("peak_bytes") or 0)), style="bold")
    text.append(f" of {format_bytes(int(plan.get('budget_bytes') or 0))}")
    measured = plan.get("measured_peak_bytes")
    if measured:
        text.append(", measured in real steps ")
        text.append(format_bytes(int(measured)), style="bold green")
    text.append(f"\ngradient error {error_words(plan) or '·'}")
    text.append(f", step {_number(predicted.get('relative_step_time'), '{:.2f}')}x the time of stock PyTorch")
    if plan.get("mean_bits") is not None:
        text.append(f", {float(plan['mean_bits']):.1f} bits kept per value")
    if int(plan.get("chunk_samples") or 1) > 1:
        text.append(f", regions in chunks of {plan['chunk_samples']}")
    if predicted.get("launches"):
        text.append(f"\n{predicted['launches']:,} kernel launches a step, bound by the ")
        text.append("host that launches them" if predicted.get("is_host_bound") else "device that runs them")
    return text


def _precision(plan: Document) -> str:
    return f"{plan.get('precision')}{weight_words(plan.get('weight_format'), plan.get('wide_weights') or ())}"


def _sections(plan: Document) -> list[RenderableType]:
    parts = [part for part in (baselines_table(plan), neighbours_table(plan)) if part is not None]
    solver = plan.get("solver") or {}
    reason = plan.get("adapter_reason")
    if reason:
        parts.append(f"why {adapter_words(plan.get('adapter'))} in {_precision(plan)}: {escape(str(reason))}")
    if wide := plan.get("wide_weights"):
        parts.append(f"weights not coded, as they bear it worst: {escape(summarise(wide))}")
    smallest = plan.get("min_feasible_budget_bytes")
    if smallest:
        parts.append(f"the smallest budget that fits is {format_at_least(int(smallest))}")
    if solver:
        gap = _number(solver.get("gap"), "{:.1e}")
        parts.append(
            f"[quiet]solver: {solver.get('status')}, gap {gap}, {_number(solver.get('seconds'), '{:.2f}')} s[/]"
        )
    return parts


def _error(value: Any) -> str:
    return "0 (exact)" if value == 0 else _number(value, "{:.2g}")


def _number(value: Any, pattern: str) -> str:
    return pattern.format(float(value)) if value is not None else "·"
