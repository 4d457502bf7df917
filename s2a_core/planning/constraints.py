"""The moments of `Peak` as rows of an integer program: variables, the rules between them, and every turn's row.

sum_o x[s, o] = 1 - used(parents of s)     a site inside a used region or block is not there
used(p) = sum of x[p, o] over o but none
y[t, q] >= x[s, exact], s among the first q sites of tensor t    it is held once, from the first on
w[s, p] = x[s, exact] and used(p)          an exact site's turn beside a region or block p in use
v[s, t] >= x[s, exact] - sum_{k < s keeps t} x[k, exact] - sum_p w[s, p]    t is alive, and no site holds it
for every site k, forward and backward:
earlier gradients + sum_{s <= k} held[s, o] x[s, o] + sum_t held[t] y[t, q(k)]
  + sum_o work[k, o] x[k, o] + sum_p (work[k, beside p] - work[k, exact]) w[k, p]
  + sum_t live[t] v[k, t] (forward)                                   <= capacity
start[mode] [first site in use runs so] <= capacity
evaluation[mode] [all blocks used | all regions used | none used] <= capacity

Where coded weights may stay numbers, all of these hold with sum_g wide[g] (count[g] - c[g]) on their left:
c[g] of the count[g] weights of equal bytes and error are coded
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2a_core.planning.memory import run_mode
from s2a_core.planning.peak import Peak
from s2a_core.profiling.types import Option
from s2a_core.storage import WHOLE, Storage

Array = NDArray[np.float64]
Row = tuple[int, int]  # (site, 0 forward or 1 backward)


@dataclass(frozen=True)
class Moment:
    """A moment that comes with some choices only: size * (constant + coefficients . variables) <= capacity."""

    size: int
    constant: float
    coefficients: dict[int, float]


@dataclass(frozen=True)
class WeightGroup:
    """Coded weights of equal bytes and error, any of which may stay numbers. variable: how many are coded."""

    variable: int
    names: tuple[str, ...]
    wide_bytes: int
    square: float


class Constraints:
    """Variables and rules of a peak; rows of turns are made as they are asked for.

    widenable: coded weights, by name, that may stay numbers.
    """

    def __init__(self, peak: Peak, widenable: Collection[str] = ()) -> None:
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
        self.rules: list[tuple[dict[int, float], float, float]] = []  # coefficients, lower, upper
        self._choose_one_option()
        self._share_tensors()
        self._meet_neighbours()
        self._charge_live_tensors()
        self.moments = [*self._starts(), *self._evaluations()]
        self.weights = self._weight_groups(widenable)
        self.most_wide_bytes = sum(len(group.names) * group.wide_bytes for group in self.weights)
        self.num_variables += 1  # the peak, where that is what is minimised
        self.rows: list[Row] = [(len(self.sites) - 1, 0)]
        self._turns: dict[Row, Array] = {}

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
                self.rules.append((row | {j: 1.0 for p in parents for j in self.used[str(p)]}, 1.0, 1.0))
                continue
            for p in parents:
                self.rules.append((row | dict.fromkeys(self.used[str(p)], 1.0), -np.inf, 1.0))
            self.rules.append((row | {j: 1.0 for p in parents for j in self.used[str(p)]}, 1.0, np.inf))

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
                self.rules += [({y: 1.0, j: -1.0}, 0.0, np.inf) for j in holders]

    def _meet_neighbours(self) -> None:
        """w: whether an exact site runs beside a region or block in use, where that changes its turn."""
        self.beside: list[tuple[int, int, int, float]] = []  # variable, site, pass, bytes more
        self.meetings: list[tuple[int, str, list[str]]] = []  # column of the exact site, its neighbour, nearer ones
        self.reaching: dict[int, list[int]] = {}  # site -> those w under which its forward turn is another one
        for i, site in enumerate(self.sites):
            for is_backward in (0, 1) if site.name in self.exact else ():
                names = self.peak.neighbours(i, -1 if is_backward else 1)
                own = self.peak.work(site, "exact", bool(is_backward)) or 0
                for k, name in enumerate(names):
                    other = self.peak.work(site, "exact", bool(is_backward), self.peak.operators[name]) or 0
                    is_another = not is_backward and self.peak.reaches(site, False, self.peak.operators[name])
                    if other == own and not is_another:
                        continue
                    w, x = self._new_variable(), self.exact[site.name]
                    used = dict.fromkeys(self.used[name], 1.0)
                    nearer = {j: 1.0 for first in names[:k] for j in self.used[first]}
                    self.beside.append((w, i, is_backward, float(other - own)))
                    self.meetings.append((x, name, names[:k]))
                    if is_another:
                        self.reaching.setdefault(i, []).append(w)
                    self.rules.append(({w: 1.0, x: -1.0}, -np.inf, 0.0))
                    self.rules.append(({w: 1.0} | dict.fromkeys(used, -1.0), -np.inf, 0.0))
                    self.rules += [({w: 1.0, j: 1.0}, -np.inf, 1.0) for j in nearer]
                    self.rules.append(({w: -1.0, x: 1.0} | used | dict.fromkeys(nearer, -1.0), -np.inf, 1.0))

    def _charge_live_tensors(self) -> None:
        """v: whether a tensor is alive in an exact site's forward turn that no exact site holds."""
        self.live: list[tuple[int, int, int]] = []  # variable, site, bytes
        self.charges: list[dict[int, float]] = []  # v is at least their sum
        for i, site in enumerate(self.sites):
            for holders, size in self.peak.live.get(site.name, {}).items() if site.name in self.exact else ():
                v = self._new_variable()
                sparing = [self.exact[name] for name in holders if name in self.exact] + self.reaching.get(i, [])
                charge = {self.exact[site.name]: 1.0, **dict.fromkeys(sparing, -1.0)}
                self.live.append((v, i, size))
                self.charges.append(charge)
                self.rules.append(({v: 1.0} | {j: -c for j, c in charge.items()}, 0.0, np.inf))

    def _starts(self) -> list[Moment]:
        """Before the first site: the first of a step's leading sites that is in use decides."""
        moments: list[Moment] = []
        before: dict[int, float] = {}
        for site in self.peak.leading():
            columns: dict[str, list[int]] = {}
            for j in np.flatnonzero(self.position == self.index[site.name]).tolist():
                mode = run_mode(site, self.columns[j][1].storage)
                if mode is not None:
                    columns.setdefault(mode, []).append(j)
            for mode, mine in columns.items():
                size = self.peak.earlier_gradients + self.peak.start(mode)
                moments.append(Moment(size, 0.0, dict.fromkeys(mine, 1.0) | before))
            before |= {j: -1.0 for mine in columns.values() for j in mine}
        moments.append(Moment(self.peak.earlier_gradients + self.peak.start(None), 1.0, before))
        return moments

    def _evaluations(self) -> list[Moment]:
        """A forward pass without gradients: only what was measured counts, and of the rest less is alive than in it."""
        moments: list[Moment] = []
        earlier: dict[int, float] = {}
        for mode in reversed(WHOLE):
            alike = [name for name, op in self.peak.operators.items() if op == mode]
            if not alike or mode not in self.peak.profile.evaluation:
                continue
            v, every = self._new_variable(), {j: 1.0 for name in alike for j in self.used[name]}
            self.rules.append(({v: 1.0} | {j: -c for j, c in every.items()} | earlier, 1.0 - len(alike), np.inf))
            self.rules += [({v: 1.0} | dict.fromkeys(self.used[name], -1.0), -np.inf, 0.0) for name in alike]
            moments.append(Moment(self.peak.evaluation(mode), 0.0, {v: 1.0}))
            earlier = {v: 1.0}
        any_used = {j: 1.0 for columns in self.used.values() for j in columns}
        if "exact" in self.peak.profile.evaluation:
            u = self._new_variable()
            self.rules.append(({u: 1.0} | {j: -c for j, c in any_used.items()}, -np.inf, 0.0))
            moments.append(Moment(self.peak.evaluation("exact"), 1.0, {u: -1.0}))
        return moments

    def _weight_groups(self, widenable: Collection[str]) -> list[WeightGroup]:
        alike: dict[tuple[int, float], list[str]] = {}
        for weight in self.peak.profile.weights:
            if weight.name in widenable:
                alike.setdefault((weight.wide_bytes, weight.gradient_error), []).append(weight.name)
        return [
            WeightGroup(self._new_variable(), tuple(names), wide_bytes, error**2)
            for (wide_bytes, error), names in alike.items()
        ]

    def wide_bytes(self, values: Array) -> float:
        """What the weights that stay numbers take beyond their codes."""
        return self.most_wide_bytes - sum(group.wide_bytes * float(values[group.variable]) for group in self.weights)

    def wide_weights(self, values: Array) -> tuple[str, ...]:
        """The weights that stay numbers."""
        return tuple(name for group in self.weights for name in group.names[round(float(values[group.variable])) :])

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
        for v, i, num_bytes in self.live:
            turns[0, i] += num_bytes * values[v]
        constant = self.peak.earlier_gradients + self.wide_bytes(values)
        return np.asarray(constant + np.cumsum(held)[:size] + turns, dtype=float)

    def turn(self, row: Row) -> Array:
        """The coefficients of one row of `turns`, made once."""
        if row not in self._turns:
            self._turns[row] = self._turn(row)
        return self._turns[row]

    def _turn(self, row: Row) -> Array:
        k, is_backward = row
        row_of = np.zeros(self.num_variables)
        row_of[: self.num_x] = self.held * (self.position <= k) + self.work[is_backward] * (self.position == k)
        for y, first, after, num_bytes in self.shared:
            row_of[y] += num_bytes * (first <= k < after)
        for w, i, of_backward, more in self.beside:
            row_of[w] += more * ((i, of_backward) == row)
        for v, i, num_bytes in self.live:
            row_of[v] += num_bytes * ((i, 0) == row)
        for group in self.weights:
            row_of[group.variable] = -group.wide_bytes
        return row_of

    def completed(self, x: Array) -> Array:
        """All variables of a choice of whole columns and coded weights: y, w and v as small as they may be."""
        values = np.zeros(self.num_variables)
        values[: self.num_x] = x[: self.num_x]
        for group in self.weights:
            values[group.variable] = x[group.variable]
        for (y, *_), holders in zip(self.shared, self.holders, strict=True):
            values[y] = max(x[holders], default=0.0)
        is_used = {name: bool(x[columns].sum() > 0.5) for name, columns in self.used.items()}
        for (w, *_), (column, name, nearer) in zip(self.beside, self.meetings, strict=True):
            values[w] = float(x[column] > 0.5 and is_used[name] and not any(is_used[n] for n in nearer))
        for (v, *_), charge in zip(self.live, self.charges, strict=True):
            values[v] = max(sum(c * values[j] for j, c in charge.items()), 0.0)
        return values
