"""What planning takes of a GPU is reserved as a job's memory is: counted by the scheduler, its process capped to it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.models import Device, DeviceState, Plan
from app.queue.policy import Live
from app.store import attempts, plans, queue
from s2a_core.sizes import format_bytes

CUDA = "cuda"
# Beside the context; a profile of fewer images takes less, so that a plan need not wait for its whole budget.
LEAST_BYTES = 2**30
PLANNING_S = 60.0  # a profile and a plan take about so long


@dataclass(frozen=True)
class PlanReservation:
    """Memory of one device for the process that makes a plan. place: `worker/name`."""

    device_id: str
    place: str
    num_bytes: int
    started_at: float


def reserve(session: Session, plan: Plan, worker: str) -> bool:
    """Give a plan room on the worker's freest GPU, at most its budget; False, with the reason written, where none has.

    A plan for a CPU, and one on a worker without GPUs of its own, reserves nothing.
    """
    gpus = [row for row in queue.devices(session) if (row.worker, row.kind) == (worker, CUDA)]
    gpus = [row for row in gpus if row.state == DeviceState.READY]
    if not gpus or plan.request.get("device") == "cpu":
        return True
    free_bytes, gpu = max(((_free_bytes(session, row), row) for row in gpus), key=lambda pair: pair[0])
    budget_bytes = int(plan.request["budget_bytes"])
    least_bytes = min(budget_bytes, gpu.context_bytes + LEAST_BYTES)
    if free_bytes < least_bytes:
        message = f"planning needs {format_bytes(least_bytes)} of a GPU; {gpu.name} has {format_bytes(free_bytes)} free"
        details = {"device": gpu.id, "free_bytes": free_bytes, "needed_bytes": least_bytes}
        plan.reason = {"code": plans.NO_ROOM, "message": message, "details": details}
        return False
    made = PlanReservation(gpu.id, f"{gpu.worker}/{gpu.name}", min(budget_bytes, free_bytes), time.time())
    plan.document = {"reservation": asdict(made)}
    return True


def reservation_of_plan(plan: Plan) -> PlanReservation | None:
    """What a plan that is being made holds."""
    stored: dict[str, Any] | None = (plan.document or {}).get("reservation")
    return None if stored is None else PlanReservation(**stored)


def planning_lives(session: Session, now: float) -> list[Live]:
    """Reservations of the plans that are being made, as the policy counts them; they are charged to no team."""
    held = ((plan.id, reservation_of_plan(plan)) for plan in plans.running(session, now))
    return [
        Live(
            plan_id, "", of.device_id, of.num_bytes, of.started_at, max(now, of.started_at + PLANNING_S),
            is_preemptible=False,
        )
        for plan_id, of in held
        if of is not None
    ]  # fmt: skip


def planning_bytes(session: Session, now: float) -> dict[str, int]:
    """Device id -> bytes that planning has reserved there."""
    held: dict[str, int] = {}
    for live in planning_lives(session, now):
        held[live.device_id] = held.get(live.device_id, 0) + live.num_bytes
    return held


def _free_bytes(session: Session, row: Device) -> int:
    reserved = sum(attempt.reserved_bytes for attempt, _ in attempts.live(session, row.id))
    return row.free_bytes(reserved + planning_bytes(session, time.time()).get(row.id, 0))
