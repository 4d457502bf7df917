"""Classes first, then teams by use per weight, then age; waiting raises a class."""

from __future__ import annotations

from app.queue.policy import Live, Rules, Team, Waiting
from app.queue.policy.order import Order, committed, effective_class, queues

RULES = Rules()
TEAMS = {"a": Team("a", weight=1), "b": Team("b", weight=3)}


def job(name: str, team: str = "a", at: float = 0, priority: int = 1) -> Waiting:
    return Waiting(name, team, at, 10, 10, runs_s=10, priority=priority)


def names(waiting: list[Waiting], teams: dict[str, Team] = TEAMS, now: float = 0, lives: tuple[Live, ...] = ()) -> str:
    return " ".join(found.job_id for found in Order(waiting, lives, teams, now, RULES))


def test_a_team_of_three_times_the_weight_has_three_times_the_turns() -> None:
    waiting = [job(f"a{i}", "a", i) for i in range(4)] + [job(f"b{i}", "b", i) for i in range(6)]
    assert names(waiting) == "a0 b0 b1 b2 a1 b3 b4 b5 a2 a3"


def test_what_a_team_used_and_what_its_live_jobs_will_use_puts_it_behind() -> None:
    waiting = [job("a0", "a"), job("b0", "b", 1)]
    assert names(waiting) == "a0 b0"
    assert names(waiting, {**TEAMS, "a": Team("a", used=50)}) == "b0 a0"
    live = Live("x", "a", "d", 10, 0, 5)
    assert committed([live], 2) == {"a": 30}
    assert names(waiting, lives=(live,)) == "b0 a0"


def test_a_class_goes_before_use_and_age() -> None:
    assert names([job("old", at=0), job("high", "b", 5, 2), job("low", at=0, priority=0)]) == "high old low"


def test_waiting_raises_a_job_up_to_the_top_class() -> None:
    low = job("low", priority=0)
    raised = [effective_class(low, hours * RULES.aging_s, RULES) for hours in (0, 0.9, 1, 2, 9)]
    assert raised == [0, 0, 1, 2, 2]
    found = queues([job("new", at=2 * RULES.aging_s, priority=2), low], 2 * RULES.aging_s, RULES)
    assert [entry[1].job_id for entry in found["a"]] == ["low", "new"]


def test_a_refunded_job_does_not_charge_its_team_and_a_dropped_team_gives_no_more() -> None:
    waiting = [job(f"a{i}", "a", i) for i in range(2)] + [job(f"b{i}", "b", i) for i in range(4)]
    order = Order(waiting, (), TEAMS, 0, RULES)
    seen = []
    for found in order:
        seen.append(found.job_id)
        if found.team_id == "a":
            order.refund(found)
        if found.job_id == "b1":
            order.drop_team("b")
    assert seen == ["a0", "b0", "a1", "b1"] or seen == ["a0", "a1", "b0", "b1"]
