"""The predicted course of a step reaches the peak that the plan promises, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2a_core.planning import plan
from s2a_core.planning.search import smallest_budget
from s2a_core.planning.trace import predicted_course
from tests.s2a_core.planning.profiles import transformer


@pytest.mark.parametrize("share", [1.0, 1.4, 4.0])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_highest_point_is_the_predicted_peak_without_its_margin(share: float, batch_size: int) -> None:
    profile = transformer(3)
    made = plan(profile, int(share * smallest_budget(profile, batch_size)[0]), batch_size)
    points = predicted_course(profile, made)
    assert max(p.num_bytes for p in points) == made.predicted.peak_bytes - made.predicted.breakdown["margin"]


def test_backward_visits_the_sites_in_reverse_and_the_last_points_are_of_the_whole_model() -> None:
    profile = transformer(2)
    made = plan(profile, 2**30, 4)
    points = predicted_course(profile, replace(made, accumulation=2))
    order = {phase: [p.site for p in points if p.phase == phase] for phase in ("forward", "backward")}
    backward = [site for site in order["forward"] if site in order["backward"]]
    assert order["backward"] == backward[::-1]
    assert [p.phase for p in points[-2:]] == ["optimizer", "evaluation"]
