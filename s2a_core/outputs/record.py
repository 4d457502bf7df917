"""From the objects of a run to the document `report.json`: every number in bytes, counts, seconds or shares of one."""

from __future__ import annotations

import contextlib
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from PIL import Image

from s2a_core import __version__
from s2a_core.datasets import ImageDataset
from s2a_core.datasets.images import UnreadableImage
from s2a_core.outputs.atomic import plain
from s2a_core.outputs.palette import beside, overlay
from s2a_core.outputs.thumbnails import SIDE, thumbnail
from s2a_core.requests import FIELDS, option_of

VERSION = 1
_MAX_EXAMPLES = 24
_FROM_RESULT = (
    "metrics",
    "best_epoch",
    "epochs",
    "history",
    "measured_peak_bytes",
    "measured",
    "memory_timeline",
    "step_ms",
    "wall_s",
    "trainable_params",
    "head_params",
    "total_params",
    "confusion",
    "by_output",
    "step_losses",
    "data_config",
)
_FROM_PLAN = (
    "model",
    "image_size",
    "precision",
    "device",
    "batch_size",
    "micro_batch",
    "accumulation",
    "chunk_samples",
    "frozen_weights",
    "weight_format",
    "wide_weights",
    "optimizer",
    "mean_bits",
    "budget_bytes",
)


def report_document(
    *,
    request: Any,
    result: Any,
    plan: Any,
    dataset: ImageDataset,
    phases: Iterable[Any] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`report.json` of a finished run. Thumbnails of `mistakes` and `correct` answers are added for the page.

    request: the RunRequest; result: the TrainResult; plan: the Plan that ran; phases: {"name", "seconds"} each;
    extra: fields that win over all others. Fields a source does not have are left out, never invented.
    """
    planned = plain(plan)
    report: dict[str, Any] = {
        "version": VERSION,
        "s2a_version": __version__,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **_picked(request, ("model", "weights", "batch_size", "epochs", "seed", "objective")),
        **{key: planned[key] for key in _FROM_PLAN if planned.get(key) is not None},
        "task": dataset.report.task,
        **_picked(result, ("accuracy", "final_accuracy", *_FROM_RESULT)),
        "adapter": planned.get("adapter"),
        "request": {name: value for name in FIELDS if (value := _of(request, name)) is not None},
        "num_classes": len(dataset.classes),
        "classes": list(dataset.classes),
        "dataset": dataset.report.to_json(),
        "command": command_line(request),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": _versions(),
    }
    predicted = planned.get("predicted") or {}
    report["predicted_peak_bytes"] = predicted.get("peak_bytes")
    if budget := _of(request, "budget_bytes"):
        report["budget_bytes"] = budget
    measured, budget = report.get("measured_peak_bytes"), report.get("budget_bytes")
    report["within_budget"] = bool(measured and budget and measured <= budget)
    report["phases"] = [plain(phase) for phase in phases]
    for name in ("mistakes", "correct"):
        report[name] = _examples(_of(result, name) or (), dataset)
    report.update(plain(dict(extra or {})))
    cleaned: dict[str, Any] = plain(report)
    return cleaned


def command_line(request: Any) -> str | None:
    """The `s2a train` line, for a shell, that repeats a run, or None where the request does not say enough.

    A plan that was given is read from the output directory, which holds it.
    """
    model, data, budget = (_of(request, name) for name in ("model", "data", "budget_bytes"))
    if not (model and data and budget):
        return None
    words = ["s2a", "train", str(model), "--data", str(data), "--budget", str(budget)]
    values = {option_of(name): _of(request, name) for name in FIELDS if name not in ("model", "data", "budget_bytes")}
    output, has_plan = str(_of(request, "output") or "OUT"), _of(request, "plan") is not None
    if has_plan:
        values["--plan"] = f"{output}/plan.json"
    if values["--weights"] is None and model != "s2a_tiny":
        values["--weights"] = "none"  # the command line's own choice is pretrained ones
    values["--output"] = output
    return shlex.join([*words, *(str(w) for pair in values.items() if pair[1] is not None for w in pair)])


def _examples(rows: Iterable[Any], dataset: ImageDataset) -> list[dict[str, Any]]:
    """The most certain answers, with the name and a small picture of each image."""
    rows = sorted(map(dict, rows), key=lambda row: -float(row.get("probability") or 0))[:_MAX_EXAMPLES]
    bare = dataset.val.with_transform(None)
    for row in rows:
        index, answer = row.get("index"), row.pop("mask", None)
        if isinstance(index, int) and 0 <= index < len(bare):
            row["name"] = bare.samples[index].name
            with contextlib.suppress(UnreadableImage, OSError):  # a file that went away since costs its picture only
                image, truth = bare[index]
                row["thumbnail"] = thumbnail(image) if answer is None else _masked(image, truth, answer)
    return [dict(plain(row)) for row in rows]


def _masked(image: Image.Image, truth: Any, answer: Any) -> str:
    """An image under its mask, and under the model's answer beside it."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    return thumbnail(beside(overlay(small, truth), overlay(small, answer)), 2 * SIDE)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("torch", "timm", "triton", "peft"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _picked(source: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := _of(source, name)) is not None}


def _of(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
