"""One storage per site, chosen exactly: a multiple-choice integer program whose rows are the moments of `Peak`.

    minimise   sum_s sum_o cost[s, o] x[s, o]
    subject to sum_o x[s, o] = 1 - used(parents of s)     a site inside a used region or block is not there
               used(p) = sum of x[p, o] over o but none
               y[t, q] >= x[s, exact], s among the first q sites of tensor t    it is held once, from the first on
               w[s, p] = x[s, exact] and used(p)          an exact site's turn beside a region or block p in use
               for every site k, forward and backward:
               earlier gradients + sum_{s <= k} held[s, o] x[s, o] + sum_t held[t] y[t, q(k)]
                 + sum_o work[k, o] x[k, o] + sum_p (work[k, beside p] - work[k, exact]) w[k, p]  <= capacity
               start[mode] [first site in use runs so] <= capacity
               evaluation[mode] [all blocks used | all regions used | none used] <= capacity

Solved by HiGHS through scipy.optimize.milp. Rows of turns join when a solution breaks them, which does not change
the optimum: most turns are far below the worst one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from s2a_core.planning.memory import run_mode
from s2a_core.planning.peak import Peak
from s2a_core.planning.types import SolverReport
from s2a_core.profiling.types import Option, SiteProfile
from s2a_core.storage import WHOLE, Storage

GAP = 2e-5  # HiGHS stops at this; what it reports afterwards may be a little larger
TIME_LIMIT_S = 5.0
MIN_TIME_S = 0.2
COST_SCALE = 1e3  # the largest cost; HiGHS also stops at an absolute gap of 1e-6, which must not be reached first
NEW_ROWS = 8  # turns added at a time, the worst ones
TOLERANCE = 1e-6  # HiGHS may overstep a row by this, in units of its largest coefficient

Cost = Callable[[SiteProfile, Option], float]
Array = NDArray[np.float64]
Row = tuple[int, int]  # (site, 0 forward or 1 backward)


@dataclass(frozen=True)
class Solution:
    """Chosen storages, their cost, the most bytes that move at any moment, and how sure the solver is."""

    sites: dict[str, Storage]
    cost: float
    peak_bytes: int
    report: SolverReport


@dataclass(frozen=True)
class _Moment:
    """A moment that comes with some choices only: size * (constant + coefficients . variables) <= capacity."""

    size: int
    constant: float
    coefficients: dict[int, float]


class Program:
    """The constraints of a peak; solved for several capacities and costs."""

    def __init__(self, peak: Peak) -> None:
        self.peak, self.sites = peak, peak.profile.sites
        self.columns = [(i, o) for i, site in enumerate(self.sites) for o in site.options]
        self.num_x = len(self.columns)
        self.index = {site.name: i for i, site in enumerate(self.sites)}
        self.position = np.array([i for i, _ in self.columns], dtype=int)
        self.held = np.array([o.fixed_bytes + peak.samples * o.bytes_per_sample for _, o in self.columns], dtype=float)
        self.work = np.array([[self._work(i, o, back) for i, o in self.columns] for back in (False, True)], dtype=float)
        self.exact = {self.sites[i].name: j for j, (i, o) in enumerate(self.columns) if o.storage is Storage.EXACT}
        self.used: dict[str, list[int]] = {name: [] for name in peak.operators}
        for j, (i, o) in enumerate(self.columns):
            if self.sites[i].name in self.used and o.storage is not Storage.NONE:
                self.used[self.sites[i].name].append(j)
        self.num_variables = self.num_x
        self._rules: list[tuple[dict[int, float], float, float]] = []  # coefficients, lower, upper
        self._choose_one_option()
        self._share_tensors()
        self._meet_neighbours()
        self.moments = [*self._starts(), *self._evaluations()]
        self.num_variables += 1  # the peak, where that is what is minimised
        self.rows: list[Row] = [(len(self.sites) - 1, 0)]

    def _work(self, i: int, option: Option, is_backward: bool) -> int:
        return self.peak.work(self.sites[i], run_mode(self.sites[i], option.storage), is_backward) or 0

    def _new_variable(self) -> int:
        self.num_variables += 1
        return self.num_variables - 1

    def _choose_one_option(self) -> None:
        """A site has one option, or none inside a region or block in use."""
        for i, site in enumerate(self.sites):
            row = dict.fromkeys(np.flatnonzero(self.position == i).tolist(), 1.0)
            parents = [p for p in dict.fromkeys((site.region, site.block)) if p in self.used]
            inner = parents[0] if parents else None
            if len(parents) < 2 or self.sites[self.index[str(inner)]].block == parents[1]:  # never both in use
                self._rules.append((row | {j: 1.0 for p in parents for j in self.used[str(p)]}, 1.0, 1.0))
                continue
            for p in parents:
                self._rules.append((row | dict.fromkeys(self.used[str(p)], 1.0), -np.inf, 1.0))
            self._rules.append((row | {j: 1.0 for p in parents for j in self.used[str(p)]}, 1.0, np.inf))

    def _share_tensors(self) -> None:
        """y: whether a tensor is held between one of its sites and the next; by the first of them that is exact."""
        self.shared: list[tuple[int, int, int, int]] = []  # variable, first site, site after the last, bytes
        self.holders: list[list[int]] = []  # columns of which any makes y one
        for tensor in self.peak.profile.shared:
            size = tensor.fixed_bytes + self.peak.samples * tensor.bytes_per_sample
            places = sorted(self.index[name] for name in tensor.sites if name in self.exact)
            for q, (first, after) in enumerate(zip(places, [*places[1:], len(self.sites)], strict=True)):
                y = self._new_variable()
                holders = [self.exact[self.sites[place].name] for place in places[: q + 1]]
                self.shared.append((y, first, after, size))
                self.holders.append(holders)
                self._rules += [({y: 1.0, j: -1.0}, 0.0, np.inf) for j in holders]

    def _meet_neighbours(self) -> None:
        """w: whether an exact site runs beside a region or block in use, where that changes its turn."""
        self.beside: list[tuple[int, int, int, float]] = []  # variable, site, pass, bytes more
        self.meetings: list[tuple[int, str, list[str]]] = []  # column of the exact site, its neighbour, nearer ones
        for i, site in enumerate(self.sites):
            for is_backward in (0, 1) if site.name in self.exact else ():
                names = self.peak.neighbours(i, -1 if is_backward else 1)
                own = self.peak.work(site, "exact", bool(is_backward)) or 0
                for k, name in enumerate(names):
                    other = self.peak.work(site, "exact", bool(is_backward), self.peak.operators[name]) or 0
                    if other == own:
                        continue
                    w, x = self._new_variable(), self.exact[site.name]
                    used = dict.fromkeys(self.used[name], 1.0)
                    nearer = {j: 1.0 for first in names[:k] for j in self.used[first]}
                    self.beside.append((w, i, is_backward, float(other - own)))
                    self.meetings.append((x, name, names[:k]))
                    self._rules.append(({w: 1.0, x: -1.0}, -np.inf, 0.0))
                    self._rules.append(({w: 1.0} | dict.fromkeys(used, -1.0), -np.inf, 0.0))
                    self._rules += [({w: 1.0, j: 1.0}, -np.inf, 1.0) for j in nearer]
                    self._rules.append(({w: -1.0, x: 1.0} | used | dict.fromkeys(nearer, -1.0), -np.inf, 1.0))

    def _starts(self) -> list[_Moment]:
        """Before the first site: the first of a step's leading sites that is in use decides."""
        moments: list[_Moment] = []
        before: dict[int, float] = {}
        for site in self.peak.leading():
            columns: dict[str, list[int]] = {}
            for j in np.flatnonzero(self.position == self.index[site.name]).tolist():
                mode = run_mode(site, self.columns[j][1].storage)
                if mode is not None:
                    columns.setdefault(mode, []).append(j)
            for mode, mine in columns.items():
                size = self.peak.earlier_gradients + self.peak.start(mode)
                moments.append(_Moment(size, 0.0, dict.fromkeys(mine, 1.0) | before))
            before |= {j: -1.0 for mine in columns.values() for j in mine}
        moments.append(_Moment(self.peak.earlier_gradients + self.peak.start(None), 1.0, before))
        return moments

    def _evaluations(self) -> list[_Moment]:
        """A forward pass without gradients: only what was measured counts, and of the rest less is alive than in it."""
        moments: list[_Moment] = []
        earlier: dict[int, float] = {}
        for mode in reversed(WHOLE):
            alike = [name for name, op in self.peak.operators.items() if op == mode]
            if not alike or mode not in self.peak.profile.evaluation:
                continue
            v, every = self._new_variable(), {j: 1.0 for name in alike for j in self.used[name]}
            self._rules.append(({v: 1.0} | {j: -c for j, c in every.items()} | earlier, 1.0 - len(alike), np.inf))
            self._rules += [({v: 1.0} | dict.fromkeys(self.used[name], -1.0), -np.inf, 0.0) for name in alike]
            moments.append(_Moment(self.peak.evaluation(mode), 0.0, {v: 1.0}))
            earlier = {v: 1.0}
        any_used = {j: 1.0 for columns in self.used.values() for j in columns}
        if "exact" in self.peak.profile.evaluation:
            u = self._new_variable()
            self._rules.append(({u: 1.0} | {j: -c for j, c in any_used.items()}, -np.inf, 0.0))
            moments.append(_Moment(self.peak.evaluation("exact"), 1.0, {u: -1.0}))
        return moments

    def turns(self, values: Array) -> Array:
        """[2, sites]: bytes that move at every site's turn, forward and backward; unused sites only hold."""
        size = len(self.sites)
        held = np.bincount(self.position, self.held * values[: self.num_x], size + 1)
        for y, first, after, num_bytes in self.shared:
            held[first] += num_bytes * values[y]
            held[after] -= num_bytes * values[y]
        turns = np.stack([np.bincount(self.position, work * values[: self.num_x], size) for work in self.work])
        for w, i, is_backward, more in self.beside:
            turns[is_backward, i] += more * values[w]
        return np.asarray(self.peak.earlier_gradients + np.cumsum(held)[:size] + turns, dtype=float)

    def _turn(self, row: Row) -> Array:
        """The coefficients of one row of `turns`."""
        k, is_backward = row
        row_of = np.zeros(self.num_variables)
        row_of[: self.num_x] = self.held * (self.position <= k) + self.work[is_backward] * (self.position == k)
        for y, first, after, num_bytes in self.shared:
            row_of[y] += num_bytes * (first <= k < after)
        for w, i, of_backward, more in self.beside:
            row_of[w] += more * ((i, of_backward) == row)
        return row_of

    def completed(self, x: Array) -> Array:
        """All variables of a choice of whole columns: y and w as small as they may be."""
        values = np.zeros(self.num_variables)
        values[: self.num_x] = x
        for (y, *_), holders in zip(self.shared, self.holders, strict=True):
            values[y] = max(x[holders], default=0.0)
        is_used = {name: bool(x[columns].sum() > 0.5) for name, columns in self.used.items()}
        for (w, *_), (column, name, nearer) in zip(self.beside, self.meetings, strict=True):
            values[w] = float(x[column] > 0.5 and is_used[name] and not any(is_used[n] for n in nearer))
        return values

    def solve(
        self,
        capacity: float | None,
        cost: Cost | None,
        is_relaxed: bool = False,
        max_error: float | None = None,
        gap: float = GAP,
        seconds: float = TIME_LIMIT_S,
    ) -> Solution | None:
        """The cheapest choice of which at no moment more than `capacity` bytes move, None where there is none.

        Without capacity: the choice with the smallest peak. Costs must not be negative. is_relaxed: shares of options
        are allowed, so that the cost, or the peak, is a lower bound. max_error: of the gradient, relative. gap,
        seconds: where the solver may stop; what it reached is in the report.
        """
        started = time.perf_counter()
        if capacity is not None and capacity < self.peak.least_moving:
            return None
        if not self.columns:
            moving = max(point.moving for point in self.peak.course({}))
            fits = capacity is None or moving <= capacity
            return Solution({}, 0.0, moving, SolverReport("optimal", 0.0, 0.0)) if fits else None
        costs = np.array([cost(self.sites[i], o) if cost else 0.0 for i, o in self.columns])
        scale = max(float((self.held + self.work.max(0)).max(initial=1.0)), 1.0)
        limits = self._fixed_limits(capacity, costs, max_error, scale)
        objective = np.zeros(self.num_variables)
        if capacity is None:
            objective[-1] = 1.0
        else:
            objective[: self.num_x] = COST_SCALE * costs / max(float(costs.max(initial=0.0)), 1e-30)
        integral = np.zeros(self.num_variables)
        integral[: self.num_x] = 0.0 if is_relaxed else 1.0
        lower, upper = np.zeros(self.num_variables), np.ones(self.num_variables)
        lower[-1], upper[-1] = self.peak.least_moving / scale, np.inf
        while True:
            left = max(started + seconds - time.perf_counter(), MIN_TIME_S)
            result = milp(
                objective,
                constraints=[*limits, self._turn_limit(capacity, scale)],
                integrality=integral,
                bounds=Bounds(lower, upper),
                options={"mip_rel_gap": gap, "time_limit": left},
            )
            if result.x is None:
                return None
            values = np.asarray(result.x) if is_relaxed else self.completed(np.round(result.x[: self.num_x]))
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
                return Solution({}, float(costs @ values[: self.num_x]), peak, self._report(result, started))
            chosen = np.flatnonzero(values[: self.num_x] > 0.5)
            sites = {self.sites[self.columns[j][0]].name: self.columns[j][1].storage for j in chosen.tolist()}
            moving = max(point.moving for point in self.peak.course(sites))
            if capacity is None or moving <= capacity:
                return Solution(sites, float(costs[chosen].sum()), moving, self._report(result, started))
            # The solver used its tolerance: this very choice is out, and nothing else.
            limits.append(self._constraint([(dict.fromkeys(chosen.tolist(), 1.0), -np.inf, len(chosen) - 1.0)]))

    def _turn_limit(self, capacity: float | None, scale: float) -> LinearConstraint:
        rows = np.stack([self._turn(row) for row in self.rows]) / scale
        if capacity is None:
            rows[:, -1] = -1.0
        room = (0.0 if capacity is None else capacity) - self.peak.earlier_gradients
        return LinearConstraint(sparse.csr_matrix(rows), -np.inf, room / scale)

    def _fixed_limits(
        self, capacity: float | None, costs: Array, max_error: float | None, scale: float
    ) -> list[LinearConstraint]:
        """What holds for every choice; moments of some choices only; squared errors, which add up; and the error."""
        rules = list(self._rules)
        for moment in self.moments:
            if capacity is None:
                share = moment.size / scale
                row = {j: share * c for j, c in moment.coefficients.items()} | {self.num_variables - 1: -1.0}
                rules.append((row, -np.inf, -share * moment.constant))
            elif moment.size > capacity:
                rules.append((moment.coefficients, -np.inf, -moment.constant))
        if max_error is not None:
            squares = {j: (o.gradient_error / max_error) ** 2 for j, (_, o) in enumerate(self.columns)}
            rules.append((squares, -np.inf, 1.0))
        return [self._constraint(rules)]

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
