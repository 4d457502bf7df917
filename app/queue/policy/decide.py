"""One pass of the queue: who starts where, who is stopped for whom, and why every other job waits.

Jobs are taken in order (order.py) and placed by best fit. The first that fits nowhere is the head: it gets a
reservation, as do a few after it on other devices, and later jobs start only where they delay none of these. A job that
was its team's next for front_s without a reservation is no longer overtaken by its own team: the team's use then falls
behind, which brings that job to the head, so none starves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.queue.policy.facts import Decision, Device, Front, Live, Preempt, Rules, Start, Team, Waiting
from app.queue.policy.order import Order
from app.queue.policy.packing import Packing
from app.queue.policy.preemption import victims
from app.queue.policy.quotas import Quotas
from app.queue.policy.reasons import Held, explain


@dataclass(slots=True)
class _Pass:
    """What a pass found out so far."""

    starts: list[Start]
    held: list[Held]
    fronts: dict[str, Front]
    preempts: tuple[Preempt, ...] = ()
    reserved: set[str] = field(default_factory=set)


def decide(
    now: float,
    devices: Sequence[Device],
    teams: Mapping[str, Team],
    lives: Sequence[Live],
    waiting: Sequence[Waiting],
    fronts: Mapping[str, Front] | None = None,
    rules: Rules | None = None,
    is_explained: bool = True,
) -> Decision:
    """Decide one pass. fronts: those of the pass before. Without is_explained, waits is empty and a pass is faster."""
    rules = rules or Rules()
    packing, quotas = Packing(devices, lives, now), Quotas(teams, lives)
    this_pass = _Pass([], [], {})
    order = Order(waiting, lives, teams, now, rules)
    before = fronts or {}
    for index, job in enumerate(order):
        if index >= rules.depth and not is_explained:
            break
        why = _held_by_team(job, quotas, this_pass, now, rules)
        device_id = packing.best_fit(job) if why is None and index < rules.depth else None
        if device_id is not None:
            live = packing.place(job, device_id)
            quotas.take(job.team_id, live.num_bytes)
            this_pass.starts.append(Start(job.job_id, device_id, live.num_bytes))
            continue
        if job.team_id not in this_pass.fronts:
            old = before.get(job.team_id)
            this_pass.fronts[job.team_id] = old if old and old.job_id == job.job_id else Front(job.job_id, now)
        this_pass.held.append(why or _held_by_memory(job, packing, this_pass, rules))
        if job.job_id not in this_pass.reserved:
            order.refund(job)
        if why is not None and why.code in ("quota_jobs", "quota_byte_seconds", "behind_own_team") and not is_explained:
            order.drop_team(job.team_id)
    waits = explain(this_pass.held, packing, teams, this_pass.preempts, rules) if is_explained else {}
    return Decision(tuple(this_pass.starts), this_pass.preempts, waits, this_pass.fronts)


def _held_by_team(job: Waiting, quotas: Quotas, this_pass: _Pass, now: float, rules: Rules) -> Held | None:
    need = min(job.limit_bytes, job.peak_bytes)
    over = quotas.exceeded(job.team_id, need)
    if over is not None:
        return Held(job, *over)
    front = this_pass.fronts.get(job.team_id)
    if front is not None and front.job_id not in this_pass.reserved and now - front.since >= rules.front_s:
        message = f"does not overtake {front.job_id} of its team, which is next for {(now - front.since) / 60:.0f} min"
        return Held(job, "behind_own_team", message, {"behind": front.job_id})
    return None


def _held_by_memory(job: Waiting, packing: Packing, this_pass: _Pass, rules: Rules) -> Held:
    if not packing.could_hold(job):
        return Held(job, "no_device", "", {})
    is_head = not this_pass.reserved
    if len(packing.reservations) < max(1, len(packing.free) // rules.devices_per_reservation):
        held = packing.reserve(job)
        if held is not None:
            this_pass.reserved.add(job.job_id)
            this_pass.preempts += victims(job, packing, rules) if is_head else ()
            code = "preempting" if is_head and this_pass.preempts else "waiting_for_memory"
            return Held(job, code, "", {}, starts_at=held.at)
    if packing.fits_now(job):
        return Held(job, "held_for_head", "", {})
    return Held(job, "waiting_for_memory", "", {})
