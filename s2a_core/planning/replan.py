"""Planning again what missed its budget: the same model and batch, with bytes kept free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from s2a_core.planning.objective import Objective
from s2a_core.planning.overhead import OF_DEVICE, Overhead, device_overhead
from s2a_core.planning.search import plan, smallest_peak
from s2a_core.planning.types import Plan
from s2a_core.profiling.types import Profile


def trainable_room(plan: Plan) -> int:
    """Bytes that a plan's budget leaves beside context, workspaces and code: on a CPU all of it."""
    return plan.budget_bytes - sum(plan.predicted.breakdown.get(name, 0) for name in OF_DEVICE)


@dataclass(frozen=True)
class Replanner:
    """Plans of one profile for a run with this overhead, as `plan` takes it."""

    profile: Profile
    overhead: Overhead | None = None

    def tighter(self, missed: Plan, margin_bytes: int) -> Plan:
        """A plan of the same budget that keeps so many bytes free. Raises InfeasibleBudget where none can.

        Weights that were coded stay coded: their numbers are gone from the model.
        """
        overhead = (self.overhead or device_overhead(self.profile)).with_margin(margin_bytes)
        objective = cast(Objective, missed.objective)
        made = plan(
            self.profile, missed.budget_bytes, missed.batch_size, objective, overhead, widenable=missed.wide_weights
        )
        return replace(
            made,
            min_feasible_budget_bytes=missed.min_feasible_budget_bytes,
            alternatives=missed.alternatives,
            adapter_reason=missed.adapter_reason,
        )

    def spare_bytes(self, missed: Plan) -> int:
        """The most bytes that `tighter` can keep free: what the plan of the smallest peak leaves of the budget."""
        return missed.budget_bytes - smallest_peak(self.profile, missed.batch_size, self.overhead)
