"""The predicted course of memory over a step of a plan: forward, backward, the optimizer's step and an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from s2a_core.planning.memory import (
    GRADIENT_BYTES,
    chosen_ways,
    course,
    evaluation_bytes,
    fixed_parts,
    turns_of,
)
from s2a_core.planning.types import Plan
from s2a_core.profiling.types import Profile

FORWARD, BACKWARD, OPTIMIZER, EVALUATION = "forward", "backward", "optimizer", "evaluation"


@dataclass(frozen=True)
class Point:
    """Most bytes alive, without the margin, in one site's turn of a phase; no site where the phase has one turn."""

    phase: str
    site: str
    num_bytes: int


def predicted_course(profile: Profile, plan: Plan) -> tuple[Point, ...]:
    """A point per site in forward and, in reverse, in backward order, of the step's last micro-batch; then the rest."""
    samples, chunk = plan.micro_batch, plan.chunk_samples
    always = sum(fixed_parts(profile, samples, plan.frozen_weights).values())
    gradients = GRADIENT_BYTES * profile.trainable_params
    is_fresh = plan.accumulation == 1
    before = always + (0 if is_fresh else gradients)
    turns = {site.name: turns_of(site, way, beside) for site, way, beside in chosen_ways(profile, plan.sites)}
    forward: list[Point] = []
    backward: list[Point] = []
    for moment in course(profile, plan.sites, samples, is_fresh, chunk):
        if moment.site not in turns:
            forward.append(Point(FORWARD, moment.site, before + moment.held + moment.work))
            continue
        for points, phase, is_backward in ((forward, FORWARD, False), (backward, BACKWARD, True)):
            sizes = [t.at(samples, is_fresh, chunk) for t in turns[moment.site] if t.is_backward == is_backward]
            if sizes or not is_backward:
                points.append(Point(phase, moment.site, before + moment.held + max([0, *sizes])))
    return (
        *forward,
        *reversed(backward),
        Point(OPTIMIZER, "", always + gradients + profile.optimizer_bytes),
        Point(EVALUATION, "", always + evaluation_bytes(profile, plan.sites, samples, chunk)),
    )
