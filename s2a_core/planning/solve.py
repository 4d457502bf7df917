"""One storage per site, chosen exactly: a multiple-choice integer program with regions and blocks that absorb sites.

    minimise   sum_s sum_o cost[s, o] x[s, o]
    subject to sum_o x[s, o] = 1                      a site on its own
               sum_o x[s, o] = x[r, none]             a site inside region r: r is unused
               sum_o x[r, o] = x[b, none]             a region inside block b: b is unused
               sum_s sum_o bytes[s, o] x[s, o] <= capacity

Solved by HiGHS through scipy.optimize.milp.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from s2a_core.planning.types import SolverReport
from s2a_core.profiling.types import Option, SiteProfile
from s2a_core.storage import Storage

GAP = 2e-5  # HiGHS stops at this; what it reports afterwards may be a little larger
TIME_LIMIT_S = 20.0
COST_SCALE = 1e3  # the largest cost; HiGHS also stops at an absolute gap of 1e-6, which must not be reached first


@dataclass(frozen=True)
class Solution:
    """Chosen storages, the cost and bytes per sample they add up to, and how sure the solver is."""

    sites: dict[str, Storage]
    cost: float
    bytes_per_sample: int
    report: SolverReport


def choose(
    sites: Sequence[SiteProfile],
    capacity_bytes: float,
    cost: Callable[[SiteProfile, Option], float],
    allowed: Callable[[SiteProfile, Option], bool],
) -> Solution | None:
    """The cheapest choice whose bytes per sample fit, or None where nothing does. Costs must not be negative."""
    started = time.perf_counter()
    columns = [(i, o) for i, site in enumerate(sites) for o in site.options if allowed(site, o)]
    if not columns:
        return Solution({}, 0.0, 0, SolverReport("optimal", 0.0, 0.0))
    row_of = {site.name: i for i, site in enumerate(sites)}
    costs = np.array([cost(sites[i], o) for i, o in columns])
    sizes = np.array([o.bytes_per_sample for _, o in columns], dtype=float)
    membership = sparse.lil_matrix((len(sites), len(columns)))
    unused = {sites[i].name: j for j, (i, o) in enumerate(columns) if o.storage is Storage.NONE}
    right = np.ones(len(sites))
    for j, (i, _) in enumerate(columns):
        membership[i, j] = 1.0
    for i, site in enumerate(sites):
        parent = next((p for p in (site.region, site.block) if p is not None and p in row_of and p in unused), None)
        if parent is not None:
            membership[i, unused[parent]] -= 1.0  # the site is chosen exactly when its parent is not used
            right[i] = 0.0
    scale = max(float(sizes.max()), 1.0)
    result = milp(
        COST_SCALE * costs / max(float(costs.max()), 1e-30),
        constraints=[
            LinearConstraint(membership.tocsr(), right, right),
            LinearConstraint(sizes[None, :] / scale, -np.inf, capacity_bytes / scale),
        ],
        integrality=np.ones(len(columns)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": GAP, "time_limit": TIME_LIMIT_S},
    )
    if result.x is None:
        return None
    chosen = {sites[i].name: o for (i, o), x in zip(columns, result.x, strict=True) if x > 0.5}
    gap = float(result.mip_gap) if result.mip_gap is not None else 0.0
    status = "optimal" if result.status == 0 else "time limit"
    return Solution(
        sites={name: o.storage for name, o in chosen.items()},
        cost=sum(cost(sites[row_of[name]], o) for name, o in chosen.items()),
        bytes_per_sample=sum(o.bytes_per_sample for o in chosen.values()),
        report=SolverReport(status, gap, time.perf_counter() - started),
    )
