"""What the service keeps of a report: what is short, in the job; what was predicted and measured, as a pair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.models import Job, PredictionPair
from s2a_core.adapters.spec import adapter_words

MAX_PART = 4000  # characters of JSON: longer parts, such as the memory timeline, are in the artifact report.json


def brief(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The report without its long parts, whose names are in `left_out`: lists of jobs stay small."""
    if report is None:
        return None
    short = {name: value for name, value in report.items() if len(json.dumps(value)) <= MAX_PART}
    left_out = sorted(set(report) - set(short))
    return {**short, "left_out": left_out} if left_out else short


def pair_of(job: Job, report: Mapping[str, Any]) -> PredictionPair | None:
    """The predicted and the measured peak of a job; None where the report has not both."""
    predicted, measured = report.get("predicted_peak_bytes"), report.get("measured_peak_bytes")
    if not isinstance(predicted, int) or not isinstance(measured, int) or predicted <= 0:
        return None
    name = adapter_words(report.get("adapter")).replace("+", ",") or str(job.request.get("adapter", "auto"))
    return PredictionPair(
        model=str(report.get("model") or job.request.get("model")),
        adapter=name,
        device=str(report.get("device") or job.device or "cpu"),
        precision=str(report.get("precision") or "fp32"),
        predicted_bytes=predicted,
        measured_bytes=measured,
        source=job.id,
    )
