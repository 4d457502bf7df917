"""Sees every torch call of a model and routes those that an operator is declared for, under the name of their site.

A table look-up per torch call is all that a call without an operator pays, and all that one pays whose site is stored
as stock does: nobody asks for its name.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from s2a_core.compression.checkpoints import refuse_checkpoint
from s2a_core.compression.pending import PendingNorm, evaluated, is_metadata, moves_tokens_only, value_of
from s2a_core.compression.record import Recorder
from s2a_core.compression.replay import with_matched_operands
from s2a_core.operators import ROUTES, Call, Intent, Operator, Site
from s2a_core.operators.norms import Norm, NormCall, evaluate_norm
from s2a_core.operators.writes import may_write
from s2a_core.storage import Storage, StoragePolicy


class Interceptor(TorchFunctionMode):
    """Routes calls by the policy. `path` is the module that runs, `site` the one whose call runs.

    changes: whether anything is stored otherwise than stock does.
    paused: above 0 nothing is intercepted, as inside a region; batch: samples of the model's input.
    """

    def __init__(self, policy: StoragePolicy, recorders: Sequence[Recorder], defers_norms: bool, changes: bool) -> None:
        super().__init__()
        self.policy, self.recorders, self.defers_norms = policy, tuple(recorders), defers_norms
        self.changes = changes
        self.tables = {(table.site, table.bits): table for table in policy.tables}
        self.batch = self.paused = 0
        self.path = ""
        self.site: Site | None = None
        self.func: Any = None  # the stock call that runs
        self._decided = {_place(site) for site, storage in policy.sites.items() if storage is not Storage.EXACT}
        self._routes_all = bool(recorders) or policy.default is not Storage.EXACT
        self._counts: dict[tuple[str, str], int] = {}
        self._names: dict[tuple[str, str, int], tuple[str, Storage]] = {}  # resolved in the first forward pass
        self._pending: weakref.WeakSet[PendingNorm] = weakref.WeakSet()

    def begin(self, args: Sequence[Any]) -> None:
        """A forward pass of the model begins. args: its inputs."""
        self.path = ""
        self._counts.clear()
        first = next((a for a in args if isinstance(a, Tensor)), None)
        self.batch = first.shape[0] if first is not None and first.dim() else 0

    def end(self) -> None:
        """The session is left: nothing of its last forward pass stays alive through it."""
        self._pending.clear()
        self.func = None

    # ---------------------------------------------------------------- calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.paused:
            return func(*args, **kwargs) if kwargs else func(*args)
        if types and any(issubclass(t, PendingNorm) for t in types):
            return self._call_with_pending(func, args, kwargs or {})
        if self._pending and may_write(func, args, kwargs or {}):
            self._evaluate_pending()
        operator = ROUTES.get(func)
        if operator is None:
            self.func = func
            return func(*args, **kwargs) if kwargs else func(*args)
        if (
            self._routes_all
            or (self.path, operator.name) in self._decided
            or (self.defers_norms and isinstance(operator, Norm))
        ):
            return self._route(operator, func, args, kwargs or {})
        self.func = func
        return with_matched_operands(func, args, kwargs)

    def _route(self, operator: Operator, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = operator.bind(func, args, kwargs)
        if given is None:
            site = self.enter_site(operator.name)
            site.storage, site.intent = Storage.EXACT, Intent.UNKNOWN
            return self.attributed(site, func, *args, **kwargs)
        if isinstance(operator, Norm):
            return self._norm(operator, func, args, kwargs, given)
        if not operator.saves(given):
            unlisted = Site("", operator.name, Storage.EXACT)
            return operator.without_gradient(Call(unlisted, func, args, kwargs, given))
        call = Call(self.enter_site(operator.name), func, args, kwargs, given, self.batch, self.tables)
        for recorder in self.recorders:
            recorder.called(call, operator)
        return self.attributed(call.site, operator.run, call)

    def attributed(self, site: Site, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs a function; what autograd saves inside belongs to the site."""
        before, self.site = self.site, site
        for recorder in self.recorders:
            recorder.begins(site)
        try:
            return function(*args, **kwargs)
        finally:
            self.site = before

    def enter_site(self, op: str) -> Site:
        """The site of the call that is handled: `blocks.3.mlp.act:gelu`, `...:gelu#2` for the second in one forward."""
        key = (self.path, op)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        known = self._names.get((*key, count))
        if known is None:
            name = f"{self.path}:{op}" if count == 1 else f"{self.path}:{op}#{count}"
            known = self._names[(*key, count)] = (name, self.policy.storage(name))
            if self.changes:
                refuse_checkpoint(name)
        return Site(known[0], op, known[1])

    # ---------------------------------------------------------------- norms that wait

    def _norm(self, operator: Norm, func: Any, args: Any, kwargs: Any, given: dict[str, Any]) -> Any:
        site = self.enter_site(operator.name)
        call = Call(site, func, args, kwargs, given, self.batch)
        if operator.saves(given):
            for recorder in self.recorders:
                recorder.called(call, operator)
        if self.defers_norms:
            return self.defer(given["input"], operator.norm_call(given, site.name))
        return self.attributed(site, operator.run, call)

    def defer(self, raw: Tensor, norm: NormCall) -> PendingNorm:
        """A pending norm that this session evaluates, at the latest when the model returns."""
        pending = PendingNorm.of(raw, norm, self._evaluate)
        self._pending.add(pending)
        return pending

    def _call_with_pending(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        if isinstance(first, PendingNorm) and first.value is None:
            if is_metadata(func):
                return func(first.raw, *args[1:], **kwargs)
            if moves_tokens_only(func, first.raw, args[1:], kwargs):
                return self.defer(func(first.raw, *args[1:], **kwargs), first.call)
        args, kwargs = evaluated((args, kwargs))
        return self.__torch_function__(func, (), args, kwargs)

    def _evaluate(self, raw: Tensor, norm: NormCall) -> Tensor:
        site = Site(norm.site, norm.kind, self.policy.storage(norm.site))
        with torch._C.DisableTorchFunction():
            value: Tensor = self.attributed(site, evaluate_norm, raw, norm, site, self.batch)
        return value

    def _evaluate_pending(self) -> None:
        """An in-place operator may change what a pending norm reads: evaluate them first."""
        for pending in list(self._pending):
            value_of(pending)
        self._pending.clear()


def _place(site: str) -> tuple[str, str]:
    """The module path and the operator of a site's name."""
    path, _, operator = site.rpartition(":")
    return path, operator.partition("#")[0]
