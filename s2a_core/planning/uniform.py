"""Plans at one width everywhere: what a planner must beat."""

from __future__ import annotations

from s2a_core.planning.memory import breakdown
from s2a_core.planning.scoring import gradient_error, mean_bits, relative_step_time
from s2a_core.planning.types import Plan, Predicted, SolverReport
from s2a_core.profiling.types import Profile, SiteProfile
from s2a_core.storage import FrozenWeights, Storage, uniform_width


def uniform_plan(profile: Profile, bits: int, batch_size: int, recompute: bool) -> Plan:
    """Every site at `bits`, exact masks where they exist; with recompute, regions absorb the sites inside them.

    LoRA's layers have at least 6 bits.
    """
    sites = {site.name: _storage(site, uniform_width(site.op, bits), recompute) for site in profile.sites}
    frozen: FrozenWeights = "bf16" if profile.precision == "bf16" else "keep"
    parts = breakdown(profile, sites, batch_size, frozen, accumulates=False)
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


def _storage(site: SiteProfile, width: Storage, recompute: bool) -> Storage:
    offered = {option.storage for option in site.options}
    if site.op in ("region", "block"):
        return width if recompute and site.op == "region" and width in offered else Storage.NONE
    for storage in (Storage.MASK, Storage.NONE, width):
        if storage in offered:
            return storage
    return Storage.EXACT
