"""An event is owed to the active webhooks of its team that want its type."""

from __future__ import annotations

import time

from app.models import Webhook
from app.store import jobs, webhooks
from app.store.database import Database


def test_what_is_owed_and_due(filled: Database) -> None:
    with filled.transaction() as session:
        for name, events, is_active in (("w1", ["failed"], True), ("w2", ["queued"], True), ("w3", ["failed"], False)):
            hook = Webhook(id=name, team_id="team_1", url="u", secret="s", events=events, is_active=is_active)
            webhooks.add(session, hook)
        job = jobs.find(session, "job_1")
        assert job is not None
        jobs.add_event(session, job, "failed", {})
        jobs.add_event(session, job, "step", {"step": 1})
        ((delivery, hook, event, _),) = webhooks.due(session, time.time() + 1, 9)
        assert (hook.id, event.type, delivery.attempt) == ("w1", "failed", 1)
        assert webhooks.due(session, time.time() - 60, 9) == []
        delivery.next_at = None
        webhooks.retry(session, delivery, 5.0)
        session.flush()
        assert [found.attempt for found in webhooks.deliveries(session, "w1", 9, None)[0]] == [2, 1]
        webhooks.remove(session, hook)
        session.flush()
        assert webhooks.find(session, "w1", None) is None


def test_the_oldest_delivery_of_each_webhook_is_due(filled: Database) -> None:
    with filled.transaction() as session:
        for name in ("w1", "w2"):
            webhooks.add(session, Webhook(id=name, team_id="team_1", url="u", secret="s", events=["queued", "failed"]))
        job = jobs.find(session, "job_1")
        assert job is not None
        for kind in ("queued", "failed"):
            jobs.add_event(session, job, kind, {})

        def found(limit: int, besides: tuple[str, ...] = ()) -> list[tuple[str, str]]:
            due = webhooks.due(session, time.time() + 1, limit, besides)
            return [(hook.id, event.type) for _, hook, event, _ in due]

        assert sorted(found(9)) == [("w1", "queued"), ("w2", "queued")]
        assert found(9, ("w1",)) == [("w2", "queued")]
        assert len(found(1)) == 1
