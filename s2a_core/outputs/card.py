"""`README.md` of an output directory: a model card in the format that model hubs read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s2a_core.adapters.spec import adapter_words, merge_refusals
from s2a_core.outputs.memory_sections import error_words
from s2a_core.sizes import BUDGET_MEANS, format_bytes
from s2a_core.storage import weight_words
from s2a_core.tasks import metrics_of, outputs_of, task_of

Document = Mapping[str, Any]


def model_card(report: Document, plan: Document) -> str:
    """Markdown with front matter: what the model is, how good, what it took, how to use it, what to beware of."""
    task, metrics = task_of(report), metrics_of(report)
    data = report.get("dataset") or {}
    kinds = adapter_words(report.get("adapter"))
    source = str(data.get("source") or "the dataset").rstrip("/").rsplit("/", 1)[-1]
    rows = [
        *((f"validation {metric.words}", metric.text(value, 2)) for metric, value in metrics),
        *([] if metrics else [(f"validation {task.main.words}", "not measured")]),
        (
            "trained parameters",
            f"{int(report.get('trainable_params') or 0):,} of {int(report.get('total_params') or 0):,}",
        ),
        ("memory budget", format_bytes(int(report.get("budget_bytes") or 0))),
        ("predicted peak", format_bytes(int(report.get("predicted_peak_bytes") or 0))),
        ("measured peak", format_bytes(int(report.get("measured_peak_bytes") or 0))),
        ("gradient error", error_words(plan) or "not known"),
        (
            "image size, precision",
            f"{report.get('image_size')} px, {report.get('precision')}"
            f"{weight_words(report.get('weight_format'), report.get('wide_weights') or ())} on {report.get('device')}",
        ),
        ("epochs, batch, seed", f"{report.get('epochs')}, {report.get('batch_size')}, {report.get('seed')}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    classes = [str(name) for name in report.get("classes") or []]
    listed = ", ".join(classes[:50]) + (f" and {len(classes) - 50} more" if len(classes) > 50 else "")
    warnings = "\n".join(f"- {warning}" for warning in data.get("warnings") or []) or "- nothing unusual was found"
    split = data.get("split") or {}
    made = f"{split_words(report)} split (seed {split.get('seed')})" if split.get("made") else "its own split"
    command = f"\n## Repeat\n\n```\n{report['command']}\n```\n" if report.get("command") else ""
    return f"""---
library_name: timm
{hub_lines(report)}tags: [{", ".join(filter(None, (task.pipeline_tag, "timm", "s2a")))}]
---

# {report.get("model")} fine-tuned on {source}

`{report.get("model")}` with the adapter `{kinds}`, trained by s2a inside a memory budget of \
{format_bytes(int(report.get("budget_bytes") or 0))}. {BUDGET_MEANS}

| | |
|---|---|
{table}

The {task.main.words} is the best over the epochs on the validation part, so it is slightly optimistic: choose with it, and \
judge on images that were never looked at.

## Use

```
s2a predict . IMAGE...               # {task.answers.summary}
s2a export .                         # {export_words(report)}
```

{_files(report)} `report.html` shows the memory over a step, the curves and the mistakes.

## Data

{data.get("num_train", 0):,} training and {data.get("num_val", 0):,} validation images with {made}. {task.nouns[1].capitalize()}: {listed}.
{scale_words(report)}
{warnings}
{command}"""


def hub_lines(report: Document) -> str:
    """The lines of a hub's front matter that depend on the run: its task, and the model whose weights it began with."""
    tag = task_of(report).pipeline_tag
    base = f"base_model: timm/{report.get('model')}\n" if report.get("weights") == "pretrained" else ""
    return (f"pipeline_tag: {tag}\n" if tag else "") + base


def split_words(report: Document) -> str:
    """How a split was drawn."""
    return "a stratified" if task_of(report).has_one_class else "a random"


def scale_words(report: Document) -> str:
    """A paragraph that says how a model's outputs become numbers; nothing where they are not standardised."""
    outputs = outputs_of(report) if report.get("classes") else None
    if outputs is None or not outputs.std:
        return ""
    parts = [f"{n}: {s:.6g}, {m:.6g}" for n, m, s in zip(outputs.names, outputs.mean, outputs.std, strict=True)]
    return (
        "\nThe model's outputs are standardised: number = output * std + mean, with std and mean of "
        f"{'; '.join(parts)}. `s2a predict` does it.\n"
    )


def _files(report: Document) -> str:
    """What adapter.safetensors holds and what is needed beside it."""
    weights = report.get("weights")
    if weights == "none" or (weights is None and report.get("model") != "s2a_tiny"):
        return "`adapter.safetensors` holds every weight: training began with random ones."
    beside = {None: "those that ship with s2a", "pretrained": "timm's pretrained ones"}.get(
        weights, f"`{Path(str(weights)).name}`"
    )
    return f"`adapter.safetensors` holds what was trained and the classifier; the base weights ({beside}) are needed beside it."


def export_words(report: Document) -> str:
    """What `s2a export DIR` writes of a run, and why it is no checkpoint where it is none."""
    if refusals := merge_refusals(report.get("adapter")):
        return f"model.zip, a package that s2a_core loads; {'; '.join(refusals)}"
    reader = "of plain timm" if task_of(report).network is None else "that s2a_core loads"
    return f"model.safetensors, a checkpoint {reader}"
