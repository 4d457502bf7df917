"""`python -m app.runner.plans FILE`: profile a model, or read its profile, plan it inside a budget, check the plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil

from app.runner.documents import Answer, reason_of, require_weights, serve
from app.runner.reservation import limit_device
from s2a_core.datasets.access import DataAccess, limited_to
from s2a_core.errors import InfeasibleBudget, without_frames
from s2a_core.planner import Planner
from s2a_core.planning import Plan
from s2a_core.profiling.types import Profile
from s2a_core.requests import OBJECTIVES, request_of
from s2a_core.train.types import OnEvent

CHECK_S = 120.0  # the longest that the real steps of a plan may be expected to take


def work(order: dict[str, Any], say: OnEvent = lambda event: None) -> Answer:
    """Plan one request over the adapters and precisions it leaves open. say: takes the planner's events.

    order: {request, profiles: their directory, data_access, reserved_bytes: of the GPU, 0 on a CPU}.
    """
    reserved_bytes = int(order.get("reserved_bytes") or 0)
    limit_device(reserved_bytes)
    access = DataAccess.from_json(order["data_access"])
    require_weights(access, order["request"].get("weights"))
    with limited_to(access):
        return _planned(Planner(request_of(order["request"]), Path(order["profiles"]), say), reserved_bytes)


def _planned(planner: Planner, reserved_bytes: int) -> Answer:
    try:
        made = _checked(planner, reserved_bytes, planner.with_smallest(planner.plan()))
    except InfeasibleBudget as error:
        without_frames(error)  # which hold the model that was refused while another one is loaded
        smallest = _smallest(planner, error)
        measured = planner.profile() if smallest is None else planner.profile_of(smallest)
        plan = smallest and smallest.to_json()
        return {**_profiled(planner, measured), "status": "infeasible", "reason": reason_of(error), "smallest": plan}
    others = [planner.for_objective(made, other).to_json() for other in OBJECTIVES if other != made.objective]
    profiled = _profiled(planner, planner.profile_of(made))
    return {**profiled, "status": "ready", "plan": made.to_json(), "others": others}


def _profiled(planner: Planner, measured: Profile) -> Answer:
    document = {"fingerprint": measured.fingerprint, "device": measured.device, "document": measured.to_json()}
    return {"profile": document, "is_profile_known": planner.are_known}


def _checked(planner: Planner, reserved_bytes: int, made: Plan) -> Plan:
    """The plan after two real steps, as its job will run it; measured_peak_bytes stays None where that was not done.

    It is not done where it would take longer than CHECK_S, or memory that a neighbour may need: on a GPU more than is
    reserved, elsewhere half of what is free. The job checks its plan in any case, inside its reservation.
    """
    measured = planner.profile_of(made)
    per_sample_ms = measured.step_ms_per_sample * max(1.0, made.predicted.relative_step_time)
    num_samples = made.micro_batch * (2 * min(made.accumulation, 2) + 1)
    room_bytes = reserved_bytes or _free_bytes(measured.device) // 2
    needed_bytes = made.budget_bytes if reserved_bytes else made.predicted.peak_bytes
    if per_sample_ms * num_samples > 1e3 * CHECK_S or needed_bytes > room_bytes:
        return made
    limit_device(made.budget_bytes)
    return planner.verify(made).plan


def _smallest(planner: Planner, error: InfeasibleBudget) -> Plan | None:
    """The plan of the smallest budget that fits."""
    try:
        return planner.plan(error.min_feasible_budget_bytes)
    except InfeasibleBudget:
        return None


def _free_bytes(device: str) -> int:
    if not device.startswith("cuda"):
        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


if __name__ == "__main__":
    sys.exit(serve(work, "failed", has_progress=True))
