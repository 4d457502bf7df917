"""Reasons carry the numbers, holders are bounded, and ETAs follow the order on each device."""

from __future__ import annotations

from app.queue.policy import Device, Live, Rules, Team, Waiting
from app.queue.policy.packing import Packing
from app.queue.policy.reasons import Held, explain

TEAMS = {"t": Team("t", "team")}


def test_etas_follow_the_estimated_ends() -> None:
    packing = Packing([Device("d", "cuda:0", "cuda", 100)], [Live("l", "t", "d", 90, 0, 50)], 0)
    held = [Held(Waiting(f"j{i}", "t", 0, 80, 80, 30), "waiting_for_memory", "", {}) for i in range(3)]
    waits = explain(held, packing, TEAMS, (), Rules())
    assert [waits[f"j{i}"].eta_at for i in range(3)] == [50, 80, 110]
    assert [waits[f"j{i}"].position for i in range(3)] == [1, 2, 3]


def test_the_largest_holders_are_shown_and_the_rest_counted() -> None:
    lives = [Live(f"l{i}", "t", "d", i + 1, 0, 50) for i in range(20)]
    packing = Packing([Device("d", "cuda:0", "cuda", 210)], lives, 0)
    held = Held(Waiting("j", "t", 0, 80, 80), "waiting_for_memory", "", {})
    (device,) = explain([held], packing, TEAMS, (), Rules())["j"].details["devices"]
    assert [h["bytes"] for h in device["held_by"]] == [20, 19, 18, 17, 16, 15, 14, 13]
    assert (device["num_holders"], device["short_bytes"]) == (20, 80)


def test_a_message_says_what_is_needed_and_what_is_free() -> None:
    mib = 2**20
    packing = Packing([Device("d", "cpu", "cpu", 100 * mib)], [Live("l", "t", "d", 60 * mib, 0, 50)], 0)
    held = Held(Waiting("j", "t", 0, 60 * mib, 60 * mib), "waiting_for_memory", "", {})
    assert explain([held], packing, TEAMS, (), Rules())["j"].message == "needs 60 MiB, 40 MiB are free on one device"
