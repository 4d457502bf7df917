"""The predicted course of memory over a step of a plan: forward, backward, the optimizer's step and an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from s2a_core.planning.memory import (
    GRADIENT_BYTES,
    chosen_options,
    course,
    evaluation_bytes,
    fixed_parts,
    way_of,
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
    ways = {site.name: (site, way_of(site, option.storage)) for site, option in chosen_options(profile, plan.sites)}
    forward, backward = [], []
    for moment in course(profile, plan.sites, samples, is_fresh, chunk):
        if moment.site not in ways:
            forward.append(Point(FORWARD, moment.site, before + moment.held + moment.work))
            continue
        site, way = ways[moment.site]
        turns = [turn.at(samples, is_fresh, chunk) for turn in site.work.get(way or "", ())]
        first, last = (turns[0], turns[-1]) if turns else (0, 0)
        forward.append(Point(FORWARD, site.name, before + moment.held + max(first, 0)))
        if len(turns) > 1:
            backward.append(Point(BACKWARD, site.name, before + moment.held + max(last, 0)))
    return (
        *forward,
        *reversed(backward),
        Point(OPTIMIZER, "", always + gradients + profile.optimizer_bytes),
        Point(EVALUATION, "", always + evaluation_bytes(profile, plan.sites, samples, chunk)),
    )
