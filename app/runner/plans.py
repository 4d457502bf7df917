"""`python -m app.runner.plans FILE`: profile a model, or read its profile, plan it inside a budget, check the plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil

from app.runner.documents import Answer, reason_of, serve
from s2a_core.adapters.spec import AUTO
from s2a_core.errors import InfeasibleBudget
from s2a_core.planning import Plan, plan
from s2a_core.planning.choice import Candidate, candidates, plan_over
from s2a_core.profiling.cache import recall, remember
from s2a_core.profiling.types import Profile
from s2a_core.requests import OBJECTIVES, request_mark_of, request_of

CHECK_S = 120.0  # the longest that the real steps of a plan may be expected to take


def work(order: dict[str, Any]) -> Answer:
    """Plan one request over the adapters and precisions it leaves open. order: {request, profiles: their directory}."""
    measuring = _Profiles(order["request"], Path(order["profiles"]))
    request: dict[str, Any] = order["request"]
    objective = str(request.get("objective") or "accuracy")
    try:
        chosen, source = measuring.plan(int(request["budget_bytes"]), objective)
        measured = measuring.of(source)
        chosen = _checked(_asked(request, source), chosen, measured)
    except InfeasibleBudget as error:
        smallest, measured = _smallest(measuring, error, objective)
        return {**_told(measured, measuring), "status": "infeasible", "reason": reason_of(error), "smallest": smallest}
    others = [
        plan(measured, chosen.budget_bytes, chosen.batch_size, other).to_json()  # type: ignore[arg-type]
        for other in OBJECTIVES
        if other != objective
    ]
    return {**_told(measured, measuring), "status": "ready", "plan": chosen.to_json(), "others": others}


class _Profiles:
    """The profiles of a request's candidates: read from a directory, or measured and kept there."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        self.request, self.folder = request, folder
        self.candidates = candidates(str(request.get("adapter") or AUTO), request.get("precision"))
        self.are_known = True
        self._found: dict[Candidate, Profile] = {}

    def plan(self, budget_bytes: int, objective: str) -> tuple[Plan, Candidate]:
        """The best plan of any candidate, and whose it is."""
        batch_size = int(self.request["batch_size"])
        return plan_over(self.candidates, self.of, budget_bytes, batch_size, objective)  # type: ignore[arg-type]

    def of(self, candidate: Candidate) -> Profile:
        """The profile of one candidate."""
        if candidate not in self._found:
            self._found[candidate], is_known = _profile(_asked(self.request, candidate), self.folder)
            self.are_known = self.are_known and is_known
        return self._found[candidate]


def _asked(request: dict[str, Any], candidate: Candidate) -> dict[str, Any]:
    return {**request, "adapter": candidate.adapter, "precision": candidate.precision}


def _told(measured: Profile, measuring: _Profiles) -> Answer:
    document = {"fingerprint": measured.fingerprint, "device": measured.device, "document": measured.to_json()}
    return {"profile": document, "is_profile_known": measuring.are_known}


def _checked(request: dict[str, Any], chosen: Plan, measured: Profile) -> Plan:
    """The plan after two real steps, as its job will run it; measured_peak_bytes stays None where that was not done.

    It is not done where it would take longer than CHECK_S, or memory that a neighbour may need: no reservation is held
    for a plan. The job checks its plan in any case, inside its reservation.
    """
    per_sample_ms = measured.step_ms_per_sample * max(1.0, chosen.predicted.relative_step_time)
    num_samples = chosen.micro_batch * (2 * min(chosen.accumulation, 2) + 1)
    if per_sample_ms * num_samples > 1e3 * CHECK_S or chosen.predicted.peak_bytes > _free_bytes(measured.device) // 2:
        return chosen
    from app.runner.reservation import limit_device
    from s2a_core import pipeline

    limit_device(chosen.budget_bytes)
    return pipeline.check_plan(request_of(request), chosen, measured).plan


def _free_bytes(device: str) -> int:
    if not device.startswith("cuda"):
        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def _smallest(measuring: _Profiles, error: InfeasibleBudget, objective: str) -> tuple[dict[str, Any] | None, Profile]:
    """The plan of the smallest budget that fits, and the profile it is of; without one, the first candidate's."""
    try:
        found, source = measuring.plan(error.min_feasible_budget_bytes, objective)
    except InfeasibleBudget:
        return None, measuring.of(measuring.candidates[0])
    return found.to_json(), measuring.of(source)


def _profile(request: dict[str, Any], folder: Path) -> tuple[Profile, bool]:
    """(the profile of a request, whether it was there already)."""
    asked = request_of(request)
    mark = request_mark_of(asked)
    known = recall(folder, mark)
    if known is not None:
        return known, True
    from s2a_core import pipeline

    measured = pipeline.make_profile(asked)
    remember(folder, mark, measured)
    return measured, False


if __name__ == "__main__":
    sys.exit(serve(work, "failed"))
