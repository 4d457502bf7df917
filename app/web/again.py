"""What a job that is over offers: run it again, with another budget, or as the beginning of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.schemas.jobs import JobRequest
from s2a_core.amounts import exact_amount

Document = Mapping[str, Any]
ROOM = 1.05  # of what a run took that did not fit: the next budget to try


@dataclass(frozen=True)
class Again:
    """fields: of the form that repeats the job, without its budget; suggested_bytes: the smallest budget that is known
    or likely to fit, None where the job did not fail for memory; why: what the suggestion is.
    """

    fields: Mapping[str, str]
    budget_bytes: int
    suggested_bytes: int | None
    why: str


def again(job: Document) -> Again:
    """The form that repeats a job. One that came from a plan repeats the plan's fields: its budget may change."""
    fields = {name: str(value) for name, value in job["request"].items() if name in JobRequest.model_fields}
    fields |= {name: str(job[name]) for name in ("name", "priority") if job.get(name)}
    details = (job.get("reason") or {}).get("details") or {}
    smallest, measured = details.get("min_feasible_budget_bytes"), details.get("measured_peak_bytes")
    if smallest:
        why = "a budget to try" if details.get("is_estimate") else "the smallest budget that fits"
        return Again(fields, job["budget_bytes"], int(smallest), why)
    if job["status"] == "failed" and measured and int(measured) > job["budget_bytes"]:
        return Again(fields, job["budget_bytes"], int(ROOM * int(measured)), "what it took, and 5 % more")
    return Again(fields, job["budget_bytes"], None, "")


def prefilled(job: Document) -> dict[str, str]:
    """The values of the form of a new job that begins as a copy of this one."""
    repeat = again(job)
    return {**repeat.fields, "budget": exact_amount(repeat.budget_bytes)}
