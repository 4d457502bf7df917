"""Statements about leader leases: one holder at a time under a name, with a token that grows with each holder."""

from __future__ import annotations

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.models import LeaderLease

SCHEDULER = "scheduler"  # whose transaction gives out the memory of devices


def acquire(session: Session, name: str, holder: str, ttl_s: float, now: float) -> int | None:
    """Become or stay the holder for `ttl_s`; the fencing token, or None while somebody else holds it."""
    if renew(session, name, holder, ttl_s, now):
        return current(session, name)[1]
    free = update(LeaderLease).where(LeaderLease.name == name, LeaderLease.expires_at <= now)
    taken = session.execute(free.values(holder=holder, token=LeaderLease.token + 1, expires_at=now + ttl_s))
    if taken.rowcount:  # type: ignore[attr-defined]
        return current(session, name)[1]
    if session.get(LeaderLease, name, populate_existing=True) is not None:
        return None
    try:
        with session.begin_nested():
            session.execute(insert(LeaderLease).values(name=name, holder=holder, token=1, expires_at=now + ttl_s))
    except IntegrityError:  # another process was first
        return None
    return 1


def renew(session: Session, name: str, holder: str, ttl_s: float, now: float) -> bool:
    """Hold it for another `ttl_s`; False when it is not this holder's any more. Locks the row until commit."""
    mine = update(LeaderLease).where(
        LeaderLease.name == name, LeaderLease.holder == holder, LeaderLease.expires_at > now
    )
    return bool(session.execute(mine.values(expires_at=now + ttl_s)).rowcount)  # type: ignore[attr-defined]


def lock(session: Session, name: str) -> None:
    """Wait until its holder's transaction is over, and keep its next one waiting until this one is."""
    session.execute(select(LeaderLease.name).where(LeaderLease.name == name).with_for_update())


def release(session: Session, name: str, holder: str, now: float) -> None:
    """Give it up, so that another does not have to wait."""
    mine = update(LeaderLease).where(LeaderLease.name == name, LeaderLease.holder == holder)
    session.execute(mine.values(expires_at=now))


def current(session: Session, name: str) -> tuple[str, int]:
    """(holder, token) of a lease that exists."""
    lease = session.get(LeaderLease, name, populate_existing=True)
    assert lease is not None
    return lease.holder, lease.token
