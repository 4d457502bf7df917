"""The JSON files of a job, as pages read them."""

from __future__ import annotations

import json
from typing import Any

from app.services.keys import Caller
from s2a_core.errors import S2AError

MAX_BYTES = 8 * 2**20


def document_of(wired: Any, caller: Caller, job_id: str, name: str) -> dict[str, Any] | None:
    """A JSON file of the job in full; None before there is one."""
    try:
        path, _ = wired.results.artifact(caller, job_id, name)
        if path.stat().st_size > MAX_BYTES:
            return None
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (S2AError, OSError, ValueError):
        return None


def full_report(wired: Any, caller: Caller, job: dict[str, Any]) -> dict[str, Any]:
    """The report with its long parts, or the short one that the job keeps; empty before there is one."""
    return document_of(wired, caller, job["id"], "report.json") or job.get("report") or {}
