"""Plans as their owners see them: ask, look, and what each alternative trades."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from app.errors import WrongState, existing
from app.models import Plan, PlanStatus
from app.queue.planning import reservation_of_plan, reserve
from app.services.children import Stopped
from app.services.datasets import DatasetService
from app.services.keys import Caller, require
from app.services.models import ModelCatalog
from app.services.placement import require_kind
from app.store import audit, leases, plans
from app.store.database import Database
from s2a_core.sizes import format_bytes

LEASE_S = 30.0
EXACT = 1e-5  # a gradient error below is what rounding causes


def document(plan: Plan) -> dict[str, Any]:
    """A plan as the API shows it; what only the runner needs stays inside."""
    stored = plan.document or {}
    request = {name: value for name, value in plan.request.items() if name != "source"}
    return {
        "id": plan.id,
        "status": plan.status,
        "request": request,
        "budget_bytes": plan.request["budget_bytes"],
        "reason": plan.reason,
        "plan": stored.get("plan"),
        "alternatives": stored.get("alternatives", []),
        "profile": stored.get("profile"),
        "created_at": plan.created_at,
        "ended_at": plan.ended_at,
    }


class PlanService:
    """Everything a key's holder can do with plans. A plan of another team is NotFound."""

    def __init__(self, database: Database, datasets: DatasetService, models: ModelCatalog) -> None:
        self.database, self.datasets, self.models = database, datasets, models

    def ask(self, caller: Caller, request: dict[str, Any], budget_bytes: int) -> dict[str, Any]:
        """Ask for a plan; a worker makes it. Raises NoDeviceFits for a kind of device that the service has not."""
        require(caller, "write")
        self.models.require(request["model"])
        stored = {**request, "budget_bytes": budget_bytes}
        kind = stored.get("device")
        worker = f"a worker with a {kind} device" if kind else "a worker"
        reason = {"code": "waiting", "message": f"waits for {worker} to profile and plan it", "details": {}}
        with self.database.together() as session:  # what the plan names is not removed before the plan is there
            stored["weights"] = self.datasets.weights(caller, request.get("weights"))
            if request.get("data"):
                stored["data"], stored["source"] = self.datasets.resolve(caller, request["data"])
            require_kind(session, kind)
            plan = plans.add(session, Plan(team_id=caller.team_id, request=stored, reason=reason))
            audit.record(session, caller.team_id, caller.key_id, "plan.created", plan.id)
            return document(plan)

    def get(self, caller: Caller, plan_id: str) -> dict[str, Any]:
        """One plan."""
        with self.database.reading() as session:
            return document(self._find(session, caller, plan_id))

    def listed(self, caller: Caller, status: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """A page of plans, newest first."""
        with self.database.reading() as session:
            rows, following = plans.listed(session, caller.visible_team, status, limit, after)
            return {"items": [document(plan) for plan in rows], "next": following}

    def profile(self, fingerprint: str) -> dict[str, Any]:
        """A profile; it names a model and a device and no data, so every team may see it."""
        with self.database.reading() as session:
            row = existing(plans.profile(session, fingerprint), f"profile {fingerprint}")
            return {
                "fingerprint": row.fingerprint,
                "device": row.device,
                "created_at": row.created_at,
                "profile": row.document,
            }

    def ready(self, caller: Caller, plan_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """(request, plan) of a plan that is ready. Raises WrongState for one that is not, with its reason."""
        with self.database.reading() as session:
            plan = self._find(session, caller, plan_id)
            if plan.status != PlanStatus.READY or plan.document is None:
                why = f": {plan.reason['message']}" if plan.reason else ""
                raise WrongState(f"plan {plan_id} is {plan.status}{why}", details={"status": plan.status})
            return dict(plan.request), dict(plan.document["plan"])

    @staticmethod
    def _find(session: Any, caller: Caller, plan_id: str) -> Plan:
        return existing(plans.find(session, plan_id, caller.visible_team), f"plan {plan_id}")


class PlanWorkQueue:
    """The worker's side: takes a plan, keeps it alive, and writes down what came of it.

    kinds: of its devices; worker: as its executor calls this machine, whose GPUs planning reserves memory of.
    """

    def __init__(self, database: Database, kinds: Collection[str] = ("cpu",), worker: str = "") -> None:
        self.database, self.kinds, self.worker = database, kinds, worker or socket.gethostname()
        self._leases: dict[str, float | None] = {}

    def take(self) -> tuple[str, dict[str, Any]] | None:
        """(id, request with its team and its reservation) of a plan that is now this worker's."""
        with self.database.transaction() as session:
            leases.lock(session, leases.SCHEDULER)  # the scheduler gives out the same memory
            plan = plans.claim(session, LEASE_S, self.kinds, lambda plan: reserve(session, plan, self.worker))
            if plan is None:
                return None
            self._leases[plan.id] = plan.lease_expires_at
            plan.reason = {"code": "planning", "message": "is being profiled and solved", "details": {}}
            reserved = reservation_of_plan(plan)
            request = {**plan.request, "team_id": plan.team_id, "reserved": reserved and asdict(reserved)}
            request["data"] = request.pop("source", None) or request.get("data")
            return plan.id, request

    def keep(self, plan_id: str, doing: str = "") -> None:
        """Say that the worker lives, and what it does. Raises Stopped where the plan is no longer its own."""
        with self.database.transaction() as session:
            plan = plans.held(session, plan_id, self._leases[plan_id])
            if plan is None:
                raise Stopped
            plan.lease_expires_at = self._leases[plan_id] = time.time() + LEASE_S
            if doing:
                plan.reason = {"code": "planning", "message": doing, "details": {}}

    def finish(self, plan_id: str, answer: dict[str, Any]) -> None:
        """Write down a child's answer."""
        with self.database.transaction() as session:
            plan = plans.held(session, plan_id, self._leases.pop(plan_id))
            if plan is None:
                return
            measured = answer.get("profile")
            if measured:
                plans.put_profile(session, measured["fingerprint"], measured["device"], measured["document"])
            plan.status = answer["status"] or PlanStatus.FAILED
            plan.reason, plan.ended_at, plan.lease_expires_at = answer.get("reason"), time.time(), None
            best = answer.get("plan") or answer.get("smallest")
            plan.document = {
                "plan": answer.get("plan"),
                "alternatives": alternatives(best, answer.get("others", []), has_plan=bool(answer.get("plan"))),
                "profile": measured["fingerprint"] if measured else None,
            }

    def release(self, plan_id: str) -> None:
        """Give a plan back, for the next worker."""
        with self.database.transaction() as session:
            plan = plans.held(session, plan_id, self._leases.pop(plan_id))
            if plan is not None:
                plan.status, plan.lease_expires_at, plan.document = PlanStatus.QUEUED, None, None


def alternatives(
    best: dict[str, Any] | None, others: Sequence[dict[str, Any]], *, has_plan: bool
) -> list[dict[str, Any]]:
    """What other objectives and budgets would give, with one line each on what they trade against the plan.

    What is no better than the plan in memory, error or time is left out.
    """
    if best is None:
        return []
    base = best["predicted"]
    trades, first = [], []
    if not has_plan:
        row = _row("smallest budget", best["budget_bytes"], base)
        words = f"the smallest budget that fits: {format_bytes(best['budget_bytes'])}"
        first = [{**row, "objective": best["objective"], "summary": words}]
    for other in others:
        row = _row(f"objective {other['objective']}", other["budget_bytes"], other["predicted"])
        trades.append({**row, "objective": other["objective"], "summary": trade(base, row)})
    for point in best.get("frontier") or []:
        if point["budget_bytes"] != best["budget_bytes"]:
            row = _row(f"budget {format_bytes(point['budget_bytes'])}", point["budget_bytes"], point)
            trades.append({**row, "objective": best["objective"], "summary": trade(base, row)})
    return [*first, *(row for row in trades if is_better(row, base))]


def is_better(row: dict[str, Any], base: dict[str, Any]) -> bool:
    """Whether a plan takes less memory than another, or has a smaller error or a faster step that one would notice."""
    old, new = max(base["gradient_error"], EXACT), max(row["gradient_error"], EXACT)
    is_faster = row["relative_step_time"] < 0.995 * base["relative_step_time"]
    return bool(row["peak_bytes"] < base["peak_bytes"] or new < 0.99 * old or is_faster)


def _row(name: str, budget_bytes: int, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "budget_bytes": budget_bytes,
        "peak_bytes": values["peak_bytes"],
        "gradient_error": values["gradient_error"],
        "relative_step_time": values["relative_step_time"],
    }


def trade(base: dict[str, Any], other: dict[str, Any]) -> str:
    """One line: memory, gradient error and time of another plan against this one."""
    memory = other["peak_bytes"] - base["peak_bytes"]
    parts = [f"{format_bytes(abs(memory))} {'more' if memory > 0 else 'less'} memory" if memory else "the same memory"]
    old, new = base["gradient_error"], other["gradient_error"]
    if max(new, old) < EXACT:
        parts.append("exact gradients")
    elif abs(new - old) < 1e-9:
        parts.append("the same gradient error")
    else:
        parts.append(f"gradient error {new:.3g} instead of {old:.3g}")
    time_ratio = other["relative_step_time"] / base["relative_step_time"] if base["relative_step_time"] else 1.0
    change = round(100 * (time_ratio - 1))
    parts.append("the same time" if change == 0 else f"{abs(change)} % {'slower' if change > 0 else 'faster'}")
    return ", ".join(parts)
