"""A plan is claimed by one worker at a time, the oldest first; profiles are replaced by their fingerprint."""

from __future__ import annotations

from app.models import Plan, Team
from app.store import plans
from app.store.database import Database


def test_claims(filled: Database) -> None:
    with filled.transaction() as session:
        for name, at in (("plan_b", 2.0), ("plan_a", 1.0)):
            plans.add(session, Plan(id=name, team_id="team_1", request={}, created_at=at))
        first, second = plans.claim(session, 60), plans.claim(session, 60)
        assert first is not None
        assert second is not None
        assert (first.id, second.id, plans.claim(session, 60)) == ("plan_a", "plan_b", None)
        second.lease_expires_at = 1.0
        assert plans.claim(session, 60) is second
        assert plans.find(session, "plan_a", "team_2") is None


def test_a_worker_claims_plans_for_its_devices_and_for_any(database: Database) -> None:
    with database.transaction() as session:
        session.add(Team(id="team_1", name="a"))
        session.flush()
        for at, device in enumerate(("cuda", None, "cpu"), 1):
            asked = {"model": "m", **({"device": device} if device else {})}
            plans.add(session, Plan(id=f"plan_{device}", team_id="team_1", request=asked, created_at=float(at)))
        claimed = [plans.claim(session, 60, {"cpu"}) for _ in range(3)]
        assert [plan and plan.id for plan in claimed] == ["plan_None", "plan_cpu", None]
        found = plans.claim(session, 60, {"cpu", "cuda"})
        assert found is not None
        found.lease_expires_at = 1.0
        assert plans.claim(session, 60, {"cpu"}) is None
        assert plans.claim(session, 60, {"cuda"}) is found


def test_profiles(filled: Database) -> None:
    with filled.transaction() as session:
        for value in (1, 2):
            plans.put_profile(session, "f", "cpu", {"value": value})
            session.flush()
        found = plans.profile(session, "f")
        assert found is not None
        assert found.document == {"value": 2}


def test_plans_without_room_keep_no_other_waiting(filled: Database) -> None:
    """However many of them wait: more than a worker looks at."""
    no_room = {"code": plans.NO_ROOM, "message": "m", "details": {}}
    with filled.transaction() as session:
        for number in range(plans.CLAIMED_AMONG + 1):
            waiting = Plan(id=f"plan_{number}", team_id="team_1", request={}, created_at=float(number), reason=no_room)
            plans.add(session, waiting)
        plans.add(session, Plan(id="plan_small", team_id="team_1", request={}, created_at=99.0))
        claimed = plans.claim(session, 60, accepts=lambda plan: plan.id == "plan_small")
        assert claimed is not None
        assert claimed.id == "plan_small"
