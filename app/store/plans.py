"""Statements about plans and profiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from app.models import Plan, PlanStatus, Profile
from app.store import owned
from app.store.owned import add as add
from app.store.pages import newest_first
from app.store.unique import add_unique

CLAIMED_AMONG = 20  # plans that a worker looks at, oldest first
NO_ROOM = "waiting_for_memory"  # why a plan waits that found no room on a device


def find(session: Session, plan_id: str, team_id: str | None) -> Plan | None:
    """A plan, of that team if one is given."""
    return owned.find(session, Plan, plan_id, team_id)


def newest_of(session: Session, team_id: str, model: str) -> Plan | None:
    """A team's newest plan of a model that was solved, whether or not anything fitted."""
    wanted = select(Plan).where(
        Plan.team_id == team_id,
        Plan.status.in_((PlanStatus.READY, PlanStatus.INFEASIBLE)),
        Plan.request["model"].as_string() == model,
    )
    return session.scalar(wanted.order_by(Plan.created_at.desc()).limit(1))


def listed(
    session: Session, team_id: str | None, status: str | None, limit: int, after: str | None
) -> tuple[list[Plan], str | None]:
    """(plans, newest first; the cursor of the next page)."""
    wanted = owned.of_team(Plan, team_id)
    if status is not None:
        wanted = wanted.where(Plan.status == status)
    return newest_first(session, Plan, wanted, limit, after)


def claim(
    session: Session,
    lease_s: float,
    kinds: Collection[str] = ("cpu",),
    accepts: Callable[[Plan], bool] = lambda plan: True,
) -> Plan | None:
    """The oldest plan that waits, or whose worker died; it is the caller's for `lease_s`.

    kinds: of the caller's devices. A plan that names no kind is for any caller. accepts: whether there is room for it;
    those behind one that has none are asked in turn, and those that were refused room before come last.
    """
    now = time.time()
    is_left = (Plan.status == PlanStatus.RUNNING) & (Plan.lease_expires_at < now)
    device = Plan.request["device"].as_string()
    wanted = select(Plan).where((Plan.status == PlanStatus.QUEUED) | is_left, device.is_(None) | device.in_(kinds))
    had_no_room = case((Plan.reason["code"].as_string() == NO_ROOM, 1), else_=0)
    wanted = wanted.order_by(had_no_room, Plan.created_at).limit(CLAIMED_AMONG)
    waiting = list(session.scalars(wanted.with_for_update(skip_locked=True)))
    for plan in waiting:
        plan.document = None  # what its last worker had reserved
    first = next(filter(accepts, waiting), None)
    if first is not None:
        first.status, first.lease_expires_at = PlanStatus.RUNNING, now + lease_s
    return first


def held(session: Session, plan_id: str, lease_expires_at: float | None) -> Plan | None:
    """A plan that is still made under this lease: one that was taken by another worker has a later one."""
    is_mine = (Plan.status == PlanStatus.RUNNING, Plan.lease_expires_at == lease_expires_at)
    return session.scalar(select(Plan).where(Plan.id == plan_id, *is_mine).with_for_update())


def running(session: Session, now: float) -> list[Plan]:
    """Plans that a living worker makes."""
    wanted = select(Plan).where(Plan.status == PlanStatus.RUNNING, Plan.lease_expires_at >= now)
    return list(session.scalars(wanted))


def put_profile(session: Session, fingerprint: str, device: str, document: dict[str, Any]) -> None:
    """Keep a profile; a later one of the same fingerprint replaces it."""
    if not add_unique(session, Profile(fingerprint=fingerprint, device=device, document=document)):
        row = session.get_one(Profile, fingerprint)
        row.document, row.created_at = document, time.time()


def profile(session: Session, fingerprint: str) -> Profile | None:
    """A profile by its fingerprint."""
    return session.get(Profile, fingerprint)
