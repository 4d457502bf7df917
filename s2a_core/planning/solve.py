"""One storage per site, chosen exactly: a multiple-choice integer program with the peak at every site as a constraint.

    minimise   sum_s sum_o cost[s, o] x[s, o]
    subject to sum_o x[s, o] = 1                      a site on its own
               sum_o x[s, o] = x[r, none]             a site inside region r: r is unused
               sum_o x[r, o] = x[b, none]             a region inside block b: b is unused
               y[t] >= x[s, exact]                    a tensor t that exact sites s share is held once
               for every site k, at its turn:
               sum_{s <= k} sum_o held[s, o] x[s, o] + sum_{t <= k} held[t] y[t] + sum_o work[k, o] x[k, o] <= capacity

Solved by HiGHS through scipy.optimize.milp. Rows of turns join when a solution breaks them, which does not change
the optimum: most turns are far below the worst one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from s2a_core.planning.memory import way_of, work_of
from s2a_core.planning.types import SolverReport
from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import Storage

GAP = 2e-5  # HiGHS stops at this; what it reports afterwards may be a little larger
TIME_LIMIT_S = 5.0
MIN_TIME_S = 0.2
COST_SCALE = 1e3  # the largest cost; HiGHS also stops at an absolute gap of 1e-6, which must not be reached first
NEW_ROWS = 8  # turns added at a time, the worst ones
TOLERANCE = 1e-6  # HiGHS may overstep a row by this, in units of its largest coefficient

Cost = Callable[[SiteProfile, Option], float]
Allowed = Callable[[SiteProfile, Option], bool]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """Chosen storages, their cost, the most bytes of any turn, and how sure the solver is."""

    sites: dict[str, Storage]
    cost: float
    peak_bytes: float
    report: SolverReport


class Program:
    """The constraints of a profile at one micro-batch; solved for several capacities and costs."""

    def __init__(
        self,
        profile: Profile,
        samples: int,
        is_fresh: bool,
        allowed: Allowed = lambda site, option: True,
        chunk: int = 1,
    ) -> None:
        self.sites = profile.sites
        self.columns = [(i, o) for i, site in enumerate(self.sites) for o in site.options if allowed(site, o)]
        self.num_x, self.num_y = len(self.columns), len(profile.shared)
        index = {site.name: i for i, site in enumerate(self.sites)}
        self.position = np.array([i for i, _ in self.columns], dtype=int)
        self.held = np.array([o.fixed_bytes + samples * o.bytes_per_sample for _, o in self.columns], dtype=float)
        self.work = np.array(
            [
                work_of(self.sites[i], way_of(self.sites[i], o.storage), samples, is_fresh, chunk)[0]
                for i, o in self.columns
            ],
            dtype=float,
        )
        self.shared_at = np.array([min(index[name] for name in t.sites) for t in profile.shared], dtype=int)
        self.shared = np.array([t.fixed_bytes + samples * t.bytes_per_sample for t in profile.shared], dtype=float)
        self.fixed = self._rules(profile, index)
        self.rows = [len(self.sites) - 1]

    def _rules(self, profile: Profile, index: dict[str, int]) -> list[LinearConstraint]:
        """One option per site, absorbed sites left out, shared tensors held by whoever keeps them."""
        width = self.num_x + self.num_y + 1
        rules = sparse.lil_matrix((len(self.sites), width))
        unused = {self.sites[i].name: j for j, (i, o) in enumerate(self.columns) if o.storage is Storage.NONE}
        right = np.ones(len(self.sites))
        for j, (i, _) in enumerate(self.columns):
            rules[i, j] = 1.0
        for i, site in enumerate(self.sites):
            parent = next((p for p in (site.region, site.block) if p is not None and p in index), None)
            if parent is not None:
                right[i] = 0.0  # the site is chosen exactly when its parent is not used
                if parent in unused:
                    rules[i, unused[parent]] -= 1.0
        found = [LinearConstraint(rules.tocsr(), right, right)]
        exact = {self.sites[i].name: j for j, (i, o) in enumerate(self.columns) if o.storage is Storage.EXACT}
        pairs = [(t, exact[n]) for t, tensor in enumerate(profile.shared) for n in tensor.sites if n in exact]
        if pairs:
            links = sparse.lil_matrix((len(pairs), width))
            for row, (t, j) in enumerate(pairs):
                links[row, self.num_x + t], links[row, j] = 1.0, -1.0
            found.append(LinearConstraint(links.tocsr(), 0.0, np.inf))
        return found

    def turns(self, x: Array) -> Array:
        """Bytes at every site's turn for a solution vector; sites that are not chosen have no turn."""
        held = np.bincount(self.position, self.held * x[: self.num_x], len(self.sites))
        held += np.bincount(self.shared_at, self.shared * x[self.num_x : -1], len(self.sites)) if self.num_y else 0
        work = np.bincount(self.position, self.work * x[: self.num_x], len(self.sites))
        return np.asarray(np.cumsum(held) + work, dtype=float)

    def _row(self, k: int) -> Array:
        return np.concatenate(
            [
                self.held * (self.position <= k) + self.work * (self.position == k),
                self.shared * (self.shared_at <= k),
                [0.0],
            ]
        )

    def _error_limit(self, max_error: float) -> LinearConstraint:
        """Squared errors add up."""
        squares = np.array([(o.gradient_error / max_error) ** 2 for _, o in self.columns])
        return LinearConstraint(np.concatenate([squares, np.zeros(self.num_y + 1)])[None, :], -np.inf, 1.0)

    def solve(
        self,
        capacity: float | None,
        cost: Cost | None,
        is_relaxed: bool = False,
        max_error: float | None = None,
        gap: float = GAP,
        seconds: float = TIME_LIMIT_S,
    ) -> Solution | None:
        """The cheapest choice whose turns all fit `capacity` bytes, None where nothing does.

        Without capacity: the choice with the smallest peak. Costs must not be negative. is_relaxed: shares of options
        are allowed, so that the cost is a lower bound. max_error: of the gradient, relative. gap, seconds: where the
        solver may stop; what it reached is in the report.
        """
        started = time.perf_counter()
        until = started + seconds
        if not self.columns:
            return Solution({}, 0.0, 0.0, SolverReport("optimal", 0.0, 0.0))
        costs = np.array([cost(self.sites[i], o) if cost else 0.0 for i, o in self.columns])
        largest = max(float(costs.max(initial=0.0)), 1e-30)
        scale = max(float((self.held + self.work).max(initial=1.0)), 1.0)
        room = capacity  # the solver's, narrower once it takes its own tolerance for room
        objective = np.concatenate([COST_SCALE * costs / largest, np.zeros(self.num_y), [0.0]])
        upper = np.concatenate([np.ones(self.num_x + self.num_y), [np.inf]])
        if capacity is None:
            objective[:] = 0.0
            objective[-1] = 1.0
        integral = np.concatenate([np.full(self.num_x, 0.0 if is_relaxed else 1.0), np.zeros(self.num_y + 1)])
        rules = self.fixed if max_error is None else [*self.fixed, self._error_limit(max_error)]
        while True:
            rows = np.stack([self._row(k) for k in self.rows]) / scale
            if capacity is None:
                rows[:, -1] = -1.0
            limit = LinearConstraint(sparse.csr_matrix(rows), -np.inf, 0.0 if room is None else room / scale)
            result = milp(
                objective,
                constraints=[*rules, limit],
                integrality=integral,
                bounds=Bounds(0, upper),
                options={"mip_rel_gap": gap, "time_limit": max(until - time.perf_counter(), MIN_TIME_S)},
            )
            if result.x is None:
                return None
            x = np.asarray(result.x)
            if not is_relaxed:
                x[: self.num_x] = np.round(x[: self.num_x])
            turns = self.turns(x)
            allowed = float(x[-1]) * scale + TOLERANCE * scale if capacity is None else capacity
            broken = [k for k in np.argsort(-turns)[:NEW_ROWS].tolist() if turns[k] > allowed]
            new = [k for k in broken if k not in self.rows]
            self.rows += new
            if not new:
                if is_relaxed or not broken or room != capacity or capacity is None:
                    break
                room = capacity - TOLERANCE * scale
        chosen = {self.sites[i].name: o for (i, o), share in zip(self.columns, x, strict=False) if share > 0.5}
        reached = _gap(float(result.fun), getattr(result, "mip_dual_bound", None))
        status = "optimal" if result.status == 0 else "time limit"
        total = float(costs @ x[: self.num_x])
        report = SolverReport(status, reached, time.perf_counter() - started)
        return Solution({name: o.storage for name, o in chosen.items()}, total, float(turns.max()), report)


def _gap(found: float, bound: float | None) -> float:
    """Distance to the proven optimum relative to it, or to a thousandth of the largest cost where it is nearly none."""
    if bound is None:
        return 0.0
    return max(found - float(bound), 0.0) / max(abs(found), 1e-3 * COST_SCALE)
