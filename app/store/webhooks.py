"""Statements about webhooks: who wants which events, and which deliveries are due."""

from __future__ import annotations

import time
from collections.abc import Collection

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.models import Event, Job, Webhook, WebhookDelivery
from app.store import owned
from app.store.owned import add as add
from app.store.pages import by_id, latest_first

EVENT_TYPES = ("queued", "started", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed")


def find(session: Session, webhook_id: str, team_id: str | None, *, is_locked: bool = False) -> Webhook | None:
    """A webhook, of that team if one is given. Locked, no event comes for it until the transaction ends."""
    return owned.find(session, Webhook, webhook_id, team_id, is_locked=is_locked)


def listed(session: Session, team_id: str | None, limit: int, after: str | None) -> tuple[list[Webhook], str | None]:
    """(webhooks by id; the cursor of the next page)."""
    return by_id(session, Webhook, owned.of_team(Webhook, team_id), limit, after)


def unsealed(session: Session, prefix: str) -> list[Webhook]:
    """Webhooks whose secret does not begin with the prefix of sealed ones."""
    return list(session.scalars(select(Webhook).where(Webhook.secret.not_like(f"{prefix}%")).with_for_update()))


def remove(session: Session, webhook: Webhook) -> None:
    """Forget a webhook and its log."""
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id))
    session.delete(webhook)


def owe(session: Session, team_id: str, kind: str, event_id: int) -> None:
    """Make an event due at once for every webhook of the team that wants its type."""
    wanted = owned.of_team(Webhook, team_id).where(Webhook.is_active)
    for webhook in session.scalars(wanted.with_for_update(read=True, key_share=True)):  # none is removed meanwhile
        if kind in webhook.events:
            session.add(WebhookDelivery(webhook_id=webhook.id, event_id=event_id, attempt=1, next_at=time.time()))


def due(
    session: Session, now: float, limit: int, besides: Collection[str] = ()
) -> list[tuple[WebhookDelivery, Webhook, Event, Job]]:
    """Of each webhook but `besides` the oldest delivery whose time has come, with what it is about; oldest first."""
    age = (WebhookDelivery.next_at, WebhookDelivery.id)
    place = func.row_number().over(partition_by=WebhookDelivery.webhook_id, order_by=age)
    is_ready = (WebhookDelivery.next_at <= now, WebhookDelivery.webhook_id.not_in(besides))
    ready = select(WebhookDelivery.id, place.label("place")).where(*is_ready).subquery()
    wanted = (
        select(WebhookDelivery, Webhook, Event, Job)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .join(Event, Event.id == WebhookDelivery.event_id)
        .join(Job, Job.id == Event.job_id)
        .where(WebhookDelivery.id.in_(select(ready.c.id).where(ready.c.place == 1)))
        .order_by(*age)
        .limit(limit)
        .with_for_update(of=WebhookDelivery, skip_locked=True)
    )
    return [(row[0], row[1], row[2], row[3]) for row in session.execute(wanted)]


def delivery(session: Session, delivery_id: int) -> WebhookDelivery | None:
    """One line of the log."""
    return session.get(WebhookDelivery, delivery_id)


def retry(session: Session, done: WebhookDelivery, next_at: float) -> None:
    """Plan another try."""
    again = WebhookDelivery(
        webhook_id=done.webhook_id, event_id=done.event_id, attempt=done.attempt + 1, next_at=next_at
    )
    session.add(again)


def deliveries(
    session: Session, webhook_id: str, limit: int, after: str | None
) -> tuple[list[WebhookDelivery], str | None]:
    """(tries of a webhook, newest first; the cursor of the next page)."""
    wanted = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    return latest_first(session, WebhookDelivery, wanted, limit, after)
