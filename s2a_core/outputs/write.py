"""Writing a finished run as a directory: report.json comes last and means that the run is complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2a_core.outputs.atomic import plain, replacing, write_json, write_text
from s2a_core.outputs.card import model_card
from s2a_core.outputs.metrics import metrics_csv
from s2a_core.outputs.page import render_page
from s2a_core.outputs.record import report_document
from s2a_core.outputs.tensors import save_tensors

if TYPE_CHECKING:
    import torch

    from s2a_core.datasets import ImageDataset

ADAPTER = "adapter.safetensors"
PLAN = "plan.json"
REPORT = "report.json"
PAGE = "report.html"
METRICS = "metrics.csv"
CARD = "README.md"
EXAMPLES = "examples.json"  # mistakes and correct answers with their pictures, for a page that shows them


def write_outputs(
    output: Path,
    *,
    request: Any,
    result: Any,
    plan: Any,
    dataset: ImageDataset,
    tensors: Mapping[str, torch.Tensor] | None = None,
    phases: Any = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the directory of a run and return report.json's content.

    tensors: what goes to adapter.safetensors, `result.state_dict` unless given. Each file is written in one step, and
    report.json last: a directory without it is not a finished run.
    """
    report = report_document(request=request, result=result, plan=plan, dataset=dataset, phases=phases, extra=extra)
    return write_documents(output, report, plain(plan), result.state_dict if tensors is None else tensors)


def write_documents(
    output: Path, report: dict[str, Any], plan: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    """The same from documents that exist. Returns the report as it stands in the file, without pictures."""
    output.mkdir(parents=True, exist_ok=True)
    (output / REPORT).unlink(missing_ok=True)
    with replacing(output / ADAPTER) as part:
        save_tensors(tensors, part, {"format": "pt", "model": str(report.get("model"))})
    write_json(output / PLAN, plan)
    write_text(output / METRICS, metrics_csv(report.get("history") or []))
    write_text(output / CARD, model_card(report, plan))
    write_text(output / PAGE, render_page(report, plan))
    examples = {name: report.get(name) or [] for name in ("mistakes", "correct")}
    write_json(output / EXAMPLES, examples)
    stored = {**report, **{name: [_without_picture(row) for row in rows] for name, rows in examples.items()}}
    write_json(output / REPORT, stored)
    return stored


def _without_picture(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "thumbnail"}
