"""`python -m app.runner.plans FILE`: profile a model, or read its profile, plan it inside a budget, check the plan."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from app.runner.documents import Answer, reason_of, serve
from s2a_core.errors import InfeasibleBudget
from s2a_core.planning import Plan, plan
from s2a_core.profiling.types import Profile

if TYPE_CHECKING:
    from s2a_core.pipeline import RunRequest

CHECK_S = 120.0  # the longest that the real steps of a plan may be expected to take
OBJECTIVES = ("accuracy", "balanced", "speed")
# What a profile depends on; a budget or an objective changes nothing of it.
PROFILED = (
    "model",
    "data",
    "weights",
    "adapter",
    "batch_size",
    "image_size",
    "precision",
    "device",
    "num_classes",
    "seed",
)


def work(order: dict[str, Any]) -> Answer:
    """Plan one request. order: {request, profiles: a directory where profiles are kept}."""
    request: dict[str, Any] = order["request"]
    measured, is_known = _profile(request, Path(order["profiles"]))
    budget, batch_size = int(request["budget_bytes"]), int(request["batch_size"])
    objective = str(request.get("objective") or "accuracy")
    answer: Answer = {
        "profile": {"fingerprint": measured.fingerprint, "device": measured.device, "document": measured.to_json()},
        "is_profile_known": is_known,
    }
    try:
        chosen = _checked(request, plan(measured, budget, batch_size, objective), measured)  # type: ignore[arg-type]
    except InfeasibleBudget as error:
        smallest = _smallest(measured, error, batch_size, objective)
        return {**answer, "status": "infeasible", "reason": reason_of(error), "smallest": smallest}
    others = [
        plan(measured, budget, batch_size, other).to_json()  # type: ignore[arg-type]
        for other in OBJECTIVES
        if other != objective
    ]
    return {**answer, "status": "ready", "plan": chosen.to_json(), "others": others}


def _checked(request: dict[str, Any], chosen: Plan, measured: Profile) -> Plan:
    """The plan after two real steps, as its job will run it; measured_peak_bytes stays None where that was not done.

    It is not done where it would take longer than CHECK_S, or memory that a neighbour may need: no reservation is held
    for a plan. The job checks its plan in any case, inside its reservation.
    """
    per_sample_ms = measured.step_ms_per_sample * max(1.0, chosen.predicted.relative_step_time)
    num_samples = chosen.micro_batch * (2 * min(chosen.accumulation, 2) + 1)
    if per_sample_ms * num_samples > 1e3 * CHECK_S or chosen.predicted.peak_bytes > _free_bytes(measured.device) // 2:
        return chosen
    from app.runner.work import limit_device
    from s2a_core import pipeline

    limit_device(chosen.budget_bytes)
    return pipeline.check_plan(_run_request(request), chosen, measured).plan


def _free_bytes(device: str) -> int:
    if not device.startswith("cuda"):
        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def _run_request(request: dict[str, Any]) -> RunRequest:
    from s2a_core import pipeline

    known = {field.name for field in dataclasses.fields(pipeline.RunRequest)}
    return pipeline.RunRequest(
        **{name: value for name, value in request.items() if name in known and value is not None}
    )


def _smallest(measured: Profile, error: InfeasibleBudget, batch_size: int, objective: str) -> dict[str, Any] | None:
    """The plan of the smallest budget that fits."""
    try:
        found: Plan = plan(measured, error.min_feasible_budget_bytes, batch_size, objective)  # type: ignore[arg-type]
    except InfeasibleBudget:
        return None
    return found.to_json()


def _profile(request: dict[str, Any], folder: Path) -> tuple[Profile, bool]:
    """(the profile of a request, whether it was there already)."""
    asked = {name: request.get(name) for name in PROFILED}
    mark = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
    path = folder / f"{mark}.json"
    try:
        return Profile.from_json(json.loads(path.read_text(encoding="utf-8"))), True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from s2a_core import pipeline

    measured = pipeline.make_profile(_run_request(request))
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{mark}.part"
    part.write_text(json.dumps(measured.to_json()), encoding="utf-8")
    part.replace(path)
    return measured, False


if __name__ == "__main__":
    sys.exit(serve(work, "failed"))
