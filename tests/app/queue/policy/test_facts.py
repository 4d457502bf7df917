"""Decay halves per half-life; ends are guessed by progress as soon as there is some."""

from __future__ import annotations

import pytest

from app.queue.policy.facts import HOUR_S, Device, Waiting, decayed, expected_end


def test_use_one_half_life_ago_counts_half() -> None:
    fresh = decayed(100, 0, 1, 1, HOUR_S)
    assert decayed(100, 0, 1, 1 + HOUR_S, HOUR_S) == pytest.approx(fresh / 2)
    assert fresh == pytest.approx(100, rel=1e-3)


def test_decayed_use_of_adjacent_intervals_adds_up() -> None:
    whole = decayed(7, 0, 5000, 9000, HOUR_S)
    assert decayed(7, 0, 1200, 9000, HOUR_S) + decayed(7, 1200, 5000, 9000, HOUR_S) == pytest.approx(whole)


def test_an_end_is_guessed_from_progress_then_from_the_guess_then_from_how_long_it_took() -> None:
    assert expected_end(100, 0, 1000, 0.25) == pytest.approx(400)
    assert expected_end(100, 0, 1000, 0.0) == 1000
    assert expected_end(2000, 0, 1000, 0.0) == 2500
    assert expected_end(10, 0, 5, 0.0) == 70


def test_a_reservation_is_the_peak_which_holds_the_context_but_never_more_than_the_budget() -> None:
    gpu = Device("d", "cuda:0", "cuda", 1000, context_bytes=30)
    assert Waiting("j", "t", 0, peak_bytes=100, limit_bytes=200).need_on(gpu) == 100
    assert Waiting("j", "t", 0, peak_bytes=10, limit_bytes=200).need_on(gpu) == 30
    assert Waiting("j", "t", 0, 1, 1, kind="cuda").accepts(gpu)
    assert Waiting("j", "t", 0, 1, 1, kind="cuda:0").accepts(gpu)
    assert not Waiting("j", "t", 0, 1, 1, kind="cpu").accepts(gpu)
