"""The plan that a run goes on with: the last one it was trained under, kept beside its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s2a_core.errors import InvalidInput
from s2a_core.outputs.atomic import write_json
from s2a_core.outputs.read import read_document
from s2a_core.outputs.write import PLAN
from s2a_core.planning import Plan
from s2a_core.train.checkpoint import NAME


def keep_plan(output: Path, document: Mapping[str, Any]) -> None:
    """Write a plan's document to an output directory."""
    write_json(output / PLAN, document)


def kept_plan(output: Path) -> Plan | None:
    """The plan beside a checkpoint; None without a checkpoint, or where this s2a cannot read the plan."""
    if not (output / NAME).is_file():
        return None
    try:
        return Plan.from_json(read_document(output / PLAN))
    except (OSError, InvalidInput):
        return None
