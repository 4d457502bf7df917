"""The memory of a plan's step, moment by moment: what its charts draw and its promise is the top of."""

from __future__ import annotations

from s2a_core.planning.overhead import Stated
from s2a_core.planning.peak import STEP_PARTS, Peak, Point
from s2a_core.planning.types import Plan
from s2a_core.profiling.types import Profile


def predicted_course(profile: Profile, plan: Plan) -> tuple[Point, ...]:
    """Every moment of a plan's step, its margin as large as at the worst of them, which is the promised peak."""
    stated = {name: size for name, size in plan.predicted.breakdown.items() if name not in STEP_PARTS}
    chunk = plan.chunk_samples or plan.micro_batch
    peak = Peak(
        profile,
        plan.micro_batch,
        plan.accumulation > 1,
        chunk,
        plan.frozen_weights,
        Stated(stated, optimizer=plan.optimizer),
        plan.wide_weights,
    )
    return peak.course(plan.sites)
