"""Ten thousand jobs in virtual time: sharing pays, teams get their shares, and nobody starves."""

from __future__ import annotations

from typing import Any

import pytest

from app.queue.policy import Device, Rules, Team
from tests.app.queue.simulate import GIB, Replay, TraceJob, exclusive_end, speed, trace

WEIGHTS = (1, 1, 1, 1, 2, 2, 3, 5)
TEAMS = [Team(f"team{i}", f"team {i}", weight) for i, weight in enumerate(WEIGHTS)]
DEVICES = [Device(f"gpu{i:02d}", f"cuda:{i}", "cuda", 80 * GIB) for i in range(16)]


def test_jobs_that_ask_for_more_than_a_device_slow_each_other_down() -> None:
    jobs = [TraceJob(f"j{i}", "team0", 0, 10 * GIB, 100, 100, 0.8, 1) for i in range(2)]
    replay = Replay(jobs, TEAMS[:1], DEVICES[:1], pass_every_s=1)
    outcome = replay.run()
    assert outcome.num_ended == 2
    assert outcome.ended_at == pytest.approx(100 * 1.6 / 0.95, abs=2)
    assert exclusive_end(jobs, 1) == 200
    assert speed([]) == 1.0


def test_a_trace_is_the_same_for_a_seed() -> None:
    assert trace(50, TEAMS, 7, 100) == trace(50, TEAMS, 7, 100)
    assert trace(50, TEAMS, 7, 100) != trace(50, TEAMS, 8, 100)


@pytest.mark.slow
@pytest.mark.timeout(540)
@pytest.mark.parametrize(
    ("seed", "hours", "changes"),
    [
        pytest.param(1, 10, {}, id="soon"),
        pytest.param(2, 0.1, {}, id="at-once"),
        pytest.param(3, 60, {}, id="over-days"),
        pytest.param(4, 60, {"is_by_weight": True}, id="more-from-large-teams"),
        pytest.param(5, 10, {"mix": (8, 17, 30, 30, 15)}, id="large-jobs"),
    ],
)
def test_ten_thousand_jobs_share_16_devices_in_time_fairly_and_without_starvation(
    seed: int, hours: float, changes: dict[str, Any]
) -> None:
    jobs = trace(10_000, TEAMS, seed, hours * 3600, **changes)
    outcome = Replay(jobs, TEAMS, DEVICES, Rules(depth=100), pass_every_s=180).run()
    alone = exclusive_end(jobs, len(DEVICES))
    wanted = {team.id: team.weight / sum(WEIGHTS) for team in TEAMS}
    error = max(abs(outcome.shares[team] / share - 1) for team, share in wanted.items())
    assert outcome.num_ended == 10_000, outcome
    assert max(outcome.most_reserved.values()) <= 1.0
    assert alone / outcome.ended_at >= 1.8, f"{alone / outcome.ended_at:.2f}"
    assert outcome.window_s >= 0.25 * outcome.ended_at
    assert error <= 0.05, f"{error:.3f}"
    # Nobody starves: whoever is next in its team starts within hours of a trace of days, and few later jobs of its own
    # team go before it.
    assert outcome.longest_front_s <= 0.1 * outcome.ended_at, outcome.longest_front_s / 3600
    assert outcome.most_passed_over <= 0.25 * 10_000 / len(TEAMS), outcome.most_passed_over
