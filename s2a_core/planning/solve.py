"""One storage per site, chosen exactly: a multiple-choice integer program whose rows are the moments of `Peak`.

    minimise   sum_s sum_o cost[s, o] x[s, o] + sum_g square_cost error[g]^2 c[g]
    subject to the moments and rules of `constraints.py`

Solved by HiGHS through scipy.optimize.milp. Rows of turns join when a solution breaks them, which does not change
the optimum: most turns are far below the worst one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from s2a_core.planning.constraints import Constraints, Moment
from s2a_core.planning.types import SolverReport
from s2a_core.profiling.types import Option, SiteProfile
from s2a_core.storage import Storage

GAP = 2e-5  # HiGHS stops at this; what it reports afterwards may be a little larger
TIME_LIMIT_S = 5.0
MIN_TIME_S = 0.2
COST_SCALE = 1e3  # the largest cost; HiGHS also stops at an absolute gap of 1e-6, which must not be reached first
NEW_ROWS = 8  # turns added at a time, the worst ones
TOLERANCE = 1e-6  # HiGHS may overstep a row by this, in units of its largest coefficient

Cost = Callable[[SiteProfile, Option], float]


@dataclass(frozen=True)
class Solution:
    """Chosen storages, their cost, the most bytes that move at any moment, and how sure the solver is.

    wide_weights: those of the weights that may stay numbers that do; what they take moves too.
    """

    sites: dict[str, Storage]
    cost: float
    peak_bytes: int
    report: SolverReport
    wide_weights: tuple[str, ...] = ()


class Program(Constraints):
    """The constraints of a peak; solved for several capacities and costs."""

    def solve(
        self,
        capacity: float | None,
        cost: Cost | None,
        is_relaxed: bool = False,
        max_error: float | None = None,
        gap: float = GAP,
        seconds: float = TIME_LIMIT_S,
        square_cost: float = 1.0,
    ) -> Solution | None:
        """The cheapest choice of which at no moment more than `capacity` bytes move, None where there is none.

        Without capacity: the choice with the smallest peak. Costs must not be negative. is_relaxed: shares of options
        are allowed, so that the cost, or the peak, is a lower bound. max_error: of the gradient, relative. gap,
        seconds: where the solver may stop; what it reached is in the report. square_cost: of a coded weight's squared
        error.
        """
        started = time.perf_counter()
        if capacity is not None and capacity < self.peak.least_moving:
            return None
        if not self.columns:
            moving = self.peak.moving({})
            fits = capacity is None or moving <= capacity
            return Solution({}, 0.0, moving, SolverReport("optimal", 0.0, 0.0)) if fits else None
        costs = np.array([cost(self.sites[i], o) if cost else 0.0 for i, o in self.columns])
        scale = max(float((self.held + self.work.max(0)).max(initial=1.0)), 1.0)
        limits = self._fixed_limits(capacity, max_error, scale)
        objective = np.zeros(self.num_variables)
        objective[: self.num_x] = costs
        integral = np.zeros(self.num_variables)
        integral[: self.num_x] = 1.0
        lower, upper = np.zeros(self.num_variables), np.ones(self.num_variables)
        lower[-1], upper[-1] = self.peak.least_moving / scale, np.inf
        for group in self.weights:
            objective[group.variable] = square_cost * group.square
            integral[group.variable] = 1.0
            upper[group.variable] = len(group.names)
            lower[group.variable] = len(group.names) if capacity is None else 0.0
        costs = objective.copy()
        objective *= COST_SCALE / max(float(costs.max(initial=0.0)), 1e-30)
        if capacity is None:
            objective[:-1], objective[-1] = 0.0, 1.0
        while True:
            left = max(started + seconds - time.perf_counter(), MIN_TIME_S)
            result = milp(
                objective,
                constraints=[*limits, self._turn_limit(capacity, scale)],
                integrality=np.zeros_like(integral) if is_relaxed else integral,
                bounds=Bounds(lower, upper),
                options={"mip_rel_gap": gap, "time_limit": left},
            )
            if result.x is None:
                return None
            values = np.asarray(result.x) if is_relaxed else self.completed(np.round(result.x))
            turns = self.turns(values)
            allowed = (float(result.x[-1]) + TOLERANCE) * scale if capacity is None else capacity
            worst = np.argsort(-turns, axis=None)[:NEW_ROWS]
            new = [(int(r % len(self.sites)), int(r // len(self.sites))) for r in worst if turns.flat[r] > allowed]
            new = [row for row in new if row not in self.rows]
            self.rows += new
            if new:
                continue
            if is_relaxed:
                peak = round(float(result.x[-1]) * scale) if capacity is None else round(float(turns.max()))
                return Solution({}, float(costs @ values), peak, self._report(result, started))
            chosen = np.flatnonzero(values[: self.num_x] > 0.5)
            sites = {self.sites[self.columns[j][0]].name: self.columns[j][1].storage for j in chosen.tolist()}
            moving = self.peak.moving(sites) + round(self.wide_bytes(values))
            if capacity is None or moving <= capacity:
                report, wide = self._report(result, started), self.wide_weights(values)
                return Solution(sites, float(costs @ values), moving, report, wide)
            # The solver used its tolerance: this very choice is out, and nothing else.
            limits.append(self._constraint([(dict.fromkeys(chosen.tolist(), 1.0), -np.inf, len(chosen) - 1.0)]))

    def _turn_limit(self, capacity: float | None, scale: float) -> LinearConstraint:
        rows = np.stack([self.turn(row) for row in self.rows]) / scale
        if capacity is None:
            rows[:, -1] = -1.0
        room = (0.0 if capacity is None else capacity) - self.peak.earlier_gradients - self.most_wide_bytes
        return LinearConstraint(sparse.csr_matrix(rows), -np.inf, room / scale)

    def _fixed_limits(self, capacity: float | None, max_error: float | None, scale: float) -> list[LinearConstraint]:
        """What holds for every choice; moments of some choices only; squared errors, which add up; and the error."""
        rules = list(self.rules)
        for moment in self.moments:
            if capacity is None:
                share = moment.size / scale
                row = {j: share * c for j, c in moment.coefficients.items()} | {self.num_variables - 1: -1.0}
                rules.append((row, -np.inf, -share * moment.constant))
            elif moment.size > capacity:
                rules.append((moment.coefficients, -np.inf, -moment.constant))
            elif moment.size + self.most_wide_bytes > capacity:
                rules.append(self._beside_weights(moment, capacity, scale))
        if capacity is not None and self.peak.least_moving + self.most_wide_bytes > capacity:
            rules.append(self._beside_weights(Moment(self.peak.least_moving, 1.0, {}), capacity, scale))
        if max_error is not None:
            squares = {j: (o.gradient_error / max_error) ** 2 for j, (_, o) in enumerate(self.columns)}
            squares |= {group.variable: group.square / max_error**2 for group in self.weights}
            rules.append((squares, -np.inf, 1.0))
        return [self._constraint(rules)]

    def _beside_weights(self, moment: Moment, capacity: float, scale: float) -> tuple[dict[int, float], float, float]:
        """A moment with what the weights take that stay numbers."""
        row = {j: moment.size / scale * c for j, c in moment.coefficients.items()}
        row |= {group.variable: -group.wide_bytes / scale for group in self.weights}
        return row, -np.inf, (capacity - self.most_wide_bytes - moment.size * moment.constant) / scale

    def _constraint(self, rules: list[tuple[dict[int, float], float, float]]) -> LinearConstraint:
        columns = [j for coefficients, _, _ in rules for j in coefficients]
        values = [value for coefficients, _, _ in rules for value in coefficients.values()]
        starts = np.cumsum([0, *(len(coefficients) for coefficients, _, _ in rules)])
        matrix = sparse.csr_matrix((values, columns, starts), shape=(len(rules), self.num_variables))
        return LinearConstraint(matrix, [low for _, low, _ in rules], [high for *_, high in rules])

    @staticmethod
    def _report(result: Any, started: float) -> SolverReport:
        """The gap is relative to the optimum, or to a thousandth of the largest cost where that is nearly none."""
        reached, bound = float(result.fun), getattr(result, "mip_dual_bound", None)
        gap = 0.0 if bound is None else max(reached - float(bound), 0.0) / max(abs(reached), 1e-3 * COST_SCALE)
        return SolverReport("optimal" if result.status == 0 else "time limit", gap, time.perf_counter() - started)
