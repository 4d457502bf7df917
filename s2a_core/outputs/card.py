"""`README.md` of an output directory: a model card in the format that model hubs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s2a_core.adapters.spec import adapter_words, merge_refusals
from s2a_core.outputs.memory_sections import error_words
from s2a_core.sizes import BUDGET_MEANS, format_bytes
from s2a_core.storage import weight_words

Document = Mapping[str, Any]


def model_card(report: Document, plan: Document) -> str:
    """Markdown with front matter: what the model is, how good, what it took, how to use it, what to beware of."""
    accuracy = report.get("accuracy")
    data = report.get("dataset") or {}
    kinds = adapter_words(report.get("adapter"))
    source = str(data.get("source") or "the dataset").rstrip("/").rsplit("/", 1)[-1]
    rows = [
        ("validation accuracy", f"{100 * float(accuracy):.2f} %" if accuracy is not None else "not measured"),
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
            f"{report.get('image_size')} px, {report.get('precision')}{weight_words(report.get('weight_format'))}"
            f" on {report.get('device')}",
        ),
        ("epochs, batch, seed", f"{report.get('epochs')}, {report.get('batch_size')}, {report.get('seed')}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    classes = [str(name) for name in report.get("classes") or []]
    listed = ", ".join(classes[:50]) + (f" and {len(classes) - 50} more" if len(classes) > 50 else "")
    warnings = "\n".join(f"- {warning}" for warning in data.get("warnings") or []) or "- nothing unusual was found"
    split = data.get("split") or {}
    made = f"a stratified split (seed {split.get('seed')})" if split.get("made") else "its own split"
    command = f"\n## Repeat\n\n```\n{report['command']}\n```\n" if report.get("command") else ""
    return f"""---
library_name: timm
pipeline_tag: image-classification
{_base(report)}tags: [image-classification, timm, s2a]
---

# {report.get("model")} fine-tuned on {source}

`{report.get("model")}` with the adapter `{kinds}`, trained by s2a inside a memory budget of \
{format_bytes(int(report.get("budget_bytes") or 0))}. {BUDGET_MEANS}

| | |
|---|---|
{table}

The accuracy is the best over the epochs on the validation part, so it is slightly optimistic: choose with it, and \
judge on images that were never looked at.

## Use

```
s2a predict . IMAGE...               # the most likely classes, with probabilities
s2a export . model.safetensors       # {_export_words(report)}
```

{_files(report)} `report.html` shows the memory over a step, the curves and the mistakes.

## Data

{data.get("num_train", 0):,} training and {data.get("num_val", 0):,} validation images with {made}. Classes: {listed}.

{warnings}
{command}"""


def _base(report: Document) -> str:
    """The line that names the model on a hub whose weights training began with; none where there is no such model."""
    return f"base_model: timm/{report.get('model')}\n" if report.get("weights") == "pretrained" else ""


def _files(report: Document) -> str:
    """What adapter.safetensors holds and what is needed beside it."""
    weights = report.get("weights")
    if weights == "none" or (weights is None and report.get("model") != "s2a_tiny"):
        return "`adapter.safetensors` holds every weight: training began with random ones."
    beside = {None: "those that ship with s2a", "pretrained": "timm's pretrained ones"}.get(weights, f"`{weights}`")
    return f"`adapter.safetensors` holds what was trained and the classifier; the base weights ({beside}) are needed beside it."


def _export_words(report: Document) -> str:
    refusals = merge_refusals(report.get("adapter"))
    return f"a package that s2a_core loads; {'; '.join(refusals)}" if refusals else "a checkpoint of plain timm"
