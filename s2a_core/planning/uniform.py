"""Plans at one width everywhere: what a planner must beat."""

from __future__ import annotations

from dataclasses import replace

from s2a_core.planning.peak import Peak
from s2a_core.planning.scoring import gradient_error, mean_bits, relative_step_time
from s2a_core.planning.types import Plan, Predicted, SolverReport
from s2a_core.profiling.types import Profile, WorkingSet
from s2a_core.storage import FrozenWeights, uniform_storage


def uniform_plan(profile: Profile, bits: int, batch_size: int, recompute: bool) -> Plan:
    """A plan of whole batches with every site at `bits`, as `uniform_storage` has it."""
    sites = {
        site.name: uniform_storage(site.op, site.shape, [option.storage for option in site.options], bits, recompute)
        for site in profile.sites
    }
    frozen: FrozenWeights = "bf16" if profile.precision == "bf16" else "keep"
    parts = Peak(profile, batch_size, accumulates=False, frozen_weights=frozen).breakdown(sites)
    peak = sum(parts.values())
    return Plan(
        model=profile.model,
        adapter=profile.adapter,
        image_size=profile.image_size,
        precision=profile.precision,
        device=profile.device,
        batch_size=batch_size,
        micro_batch=batch_size,
        accumulation=1,
        chunk_samples=1,
        frozen_weights=frozen,
        sites=sites,
        mean_bits=mean_bits(profile, sites),
        predicted=Predicted(peak, parts, gradient_error(profile, sites), relative_step_time(profile, sites)),
        solver=SolverReport("uniform", 0.0, 0.0),
        budget_bytes=peak,
        min_feasible_budget_bytes=peak,
        fingerprint=profile.fingerprint,
        tables=profile.tables_for(sites),
    )


def held_only(profile: Profile) -> Profile:
    """The profile as if nothing but what sites hold took memory: to compare choices at the same held bytes."""
    sites = tuple(replace(site, work={}) for site in profile.sites)
    none = {"exact": WorkingSet(0, 0)}
    return replace(profile, sites=sites, start={}, evaluation=none, trainable_params=0, optimizer_bytes=0)
