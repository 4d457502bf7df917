"""`report.html`: what a finished run is worth, what it took, and how to use it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from s2a_core.adapters.spec import adapter_words
from s2a_core.outputs.card import export_words
from s2a_core.outputs.document import html_document
from s2a_core.outputs.memory_sections import baselines_section, budget_section, storage_section, timeline_section
from s2a_core.outputs.quality_sections import (
    classes_section,
    confusion_section,
    curves_section,
    data_section,
    examples_section,
    outputs_section,
)
from s2a_core.sizes import format_bytes
from s2a_core.storage import weight_words
from s2a_core.tasks import metrics_of, task_of

Document = Mapping[str, Any]


def render_page(report: Document, plan: Document) -> str:
    """The page of a finished run from report.json and plan.json; missing parts are left out, not guessed."""
    sections = (
        budget_section(report, plan),
        timeline_section(report),
        baselines_section(report, plan),
        storage_section(plan),
        curves_section(report),
        confusion_section(report),
        classes_section(report),
        outputs_section(report),
        examples_section(report),
        data_section(report),
        _run_section(report),
    )
    made = html.escape(f"s2a {report.get('s2a_version', '')} · {report.get('created_at', '')}")
    footer = f"<footer>{made} · the same numbers as report.json and plan.json beside this page</footer>"
    return html_document("s2a fine-tuning report", _title(report), f"{_header(report)}{''.join(sections)}{footer}")


def _title(report: Document) -> str:
    source = str((report.get("dataset") or {}).get("source") or "").rstrip("/").rsplit("/", 1)[-1]
    return f"{report.get('model', 'model')} on {source}" if source else str(report.get("model", "model"))


def _header(report: Document) -> str:
    budget = int(report.get("budget_bytes") or 0)
    measured = int(report.get("measured_peak_bytes") or 0)
    if report.get("within_budget"):
        verdict = f'<span class="pill good">✓ stayed {format_bytes(budget - measured)} below its budget</span>'
    elif measured:
        verdict = f'<span class="pill bad">✗ {format_bytes(measured - budget)} over its budget</span>'
    else:
        verdict = '<span class="pill warn">peak not measured</span>'
    words = [
        adapter_words(report.get("adapter")),
        str(report.get("precision", "")) + weight_words(report.get("weight_format"), report.get("wide_weights") or ()),
        str(report.get("device", "")),
    ]
    pills = verdict + "".join(f'<span class="pill">{html.escape(word)}</span>' for word in words if word)
    return f"<p>{pills}</p><div class='cards'>{_cards(report)}</div>"


def _cards(report: Document) -> str:
    share = _trained_share(report)
    step_ms = report.get("step_ms")
    cards = [
        *((metric.text(value), f"validation {metric.words}", _epochs(report)) for metric, value in metrics_of(report)),
        (
            format_bytes(int(report.get("measured_peak_bytes") or 0)),
            "measured peak",
            f"of {format_bytes(int(report.get('budget_bytes') or 0))}",
        ),
        (
            f"{int(report.get('trainable_params') or 0):,}",
            "trained parameters",
            f"{share:.2f} % of the model" if share is not None else "",
        ),
        (f"{float(step_ms):,.0f} ms" if step_ms else "·", "per step", _batch(report)),
    ]
    return "".join(
        f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span><small>{html.escape(more)}</small></div>"
        for value, name, more in cards
    )


def _run_section(report: Document) -> str:
    """How to use and to repeat the run."""
    rows = [
        ("task", task_of(report).sentence(str((report.get("dataset") or {}).get("task_reason") or ""))),
        ("weights", report.get("weights")),
        ("image size", report.get("image_size")),
        ("batch", _batch(report)),
        ("epochs", report.get("epochs")),
        ("seed", report.get("seed")),
        ("wall time", f"{float(report['wall_s']):,.0f} s" if report.get("wall_s") else None),
        ("phases", ", ".join(f"{p['name']} {float(p.get('seconds') or 0):.1f} s" for p in report.get("phases") or [])),
        ("machine", report.get("machine")),
        ("versions", ", ".join(f"{name} {version}" for name, version in (report.get("versions") or {}).items())),
    ]
    table = "".join(
        f"<tr><td>{name}</td><td>{html.escape(str(value))}</td></tr>" for name, value in rows if value not in (None, "")
    )
    command = report.get("command")
    repeat = f"<h3>Repeat</h3><pre>{html.escape(str(command))}</pre>" if command else ""
    return (
        "<section><h2>This run</h2><h3>Use the model</h3><pre>s2a predict DIR IMAGE...     # "
        f"{task_of(report).answers.summary}\ns2a export DIR               # {html.escape(export_words(report))}</pre>"
        f"{repeat}<div class='scroll'><table>{table}</table></div></section>"
    )


def _trained_share(report: Document) -> float | None:
    total = report.get("total_params")
    return 100 * float(report.get("trainable_params") or 0) / float(total) if total else None


def _epochs(report: Document) -> str:
    best, epochs = report.get("best_epoch"), report.get("epochs")
    return f"best of {epochs} epochs (epoch {best})" if best is not None and epochs else ""


def _batch(report: Document) -> str:
    batch, micro = report.get("batch_size"), report.get("micro_batch")
    if not batch:
        return ""
    return f"{batch} images" + (f" in micro-batches of {micro}" if micro and micro != batch else "")
