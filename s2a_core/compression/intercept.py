"""Sees every torch call of a model and routes those that an operator is declared for, under the name of their site.

The first forward pass of a kind is intercepted as a whole. The later ones are in watched modules alone (see
`compression/watched.py`): the calls of all others do not come here.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from s2a_core.compression.checkpoints import refuse_checkpoint
from s2a_core.compression.pending import PendingNorm, evaluated, is_metadata, moved, value_of
from s2a_core.compression.prepared import PreparedCall, prepared
from s2a_core.compression.record import Recorder
from s2a_core.compression.watched import MOST_PASSES, PassKey, WatchedModules, pass_key
from s2a_core.operators import ROUTES, Call, Intent, Operator, Site
from s2a_core.operators.dtypes import matched_call
from s2a_core.operators.norms import Norm, NormCall, evaluate_norm, runs_as_stock
from s2a_core.operators.writes import may_write
from s2a_core.storage import WHOLE, Storage, StoragePolicy

_autograd: Any = torch._C._autograd  # type: ignore[attr-defined]


class Interceptor(TorchFunctionMode):
    """Routes calls by the policy. `path` is the module that runs, `site` the one whose call runs.

    changes: whether anything is stored otherwise than stock does.
    paused: above 0 nothing is intercepted, as inside a region; batch: samples of the model's input.
    watched: the modules to intercept calls of, None while all are; num_calls: calls that came here.
    hooks: of saved tensors, in place wherever calls are intercepted.
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
        self.watched: WatchedModules | None = None
        self.is_on = True  # inside a session: whether calls come here
        self.hooks: saved_tensors_hooks | None = None
        self.num_calls = 0
        self._learned: dict[PassKey, WatchedModules] = {}
        self._learning: tuple[PassKey, WatchedModules] | None = None
        self._routed: list[tuple[Operator, Call]] | None = None  # what the call of a module came to, while it runs
        self._first_calls: dict[str, PreparedCall | None] = {}  # of modules that make a single one, in this pass
        self._born: dict[str, int] = {}  # site of a pending norm -> calls before it was deferred, while learning

    def begin(self, args: Sequence[Any], names: Sequence[str], is_training: bool) -> None:
        """A forward pass of the model begins. args: its inputs; names: of those that are passed by name."""
        self.watched = self._learning = None
        self._first_calls.clear()
        self.count_from_start(args)
        key = None if self._routes_all else pass_key((*args, *names), is_training)
        if key is not None:
            self.watched = self._learned.get(key)
            if self.watched is None:
                paths = {path for path, operator in self._decided if operator not in WHOLE}
                self._learning = key, WatchedModules(paths)
                self._born.clear()

    def count_from_start(self, args: Sequence[Any]) -> None:
        """Sites are counted again, for a pass with these inputs."""
        self.path = ""
        self._counts.clear()
        first = next((a for a in args if isinstance(a, Tensor)), None)
        self.batch = first.shape[0] if first is not None and first.dim() else 0

    def finish(self) -> None:
        """A forward pass has returned: what it showed holds for the next ones like it."""
        if self.watched is not None and self._first_calls:
            self.watched.prepared.update(self._first_calls)
            self._first_calls.clear()
        if self._learning is not None:
            if len(self._learned) >= MOST_PASSES:
                self._learned.clear()
            key, watched = self._learning
            self._learned[key] = watched
            self._learning = None

    def end(self) -> None:
        """The session is left: nothing of its last forward pass stays alive through it."""
        self._pending.clear()
        self._first_calls.clear()
        self.func = self._learning = None

    def enter_module(self, name: str, is_on: bool | None = None) -> tuple[str, bool]:
        """A module begins; returns what `leave_module` needs. is_on: see `switch`; None where it is watched."""
        before, self.path = self.path, name
        if self.watched is not None:
            return before, self.switch(name in self.watched.paths if is_on is None else is_on)
        if self._learning is not None:
            self._learning[1].callers.setdefault(name, set()).add(before)
        return before, self.is_on

    def leave_module(self, before: tuple[str, bool]) -> None:
        """The module that `before` tells of goes on."""
        self.path, is_on = before
        if is_on is not self.is_on:
            self.switch(is_on)

    def prepared_call(self, name: str, x: Tensor) -> PreparedCall | None:
        """The one call that a module makes of x, where nothing about it has to be looked at any more."""
        call = None if self.watched is None or self.is_on else self.watched.prepared.get(name)
        if call is None or not call.fits(x) or (call.writes and self._pending):
            return None
        return call

    def call_of_module(
        self, name: str, module: nn.Module, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The one call that a module makes."""
        assert self.watched is not None  # the forward of a module asks for no other
        is_watched = name in self.watched.paths
        before = self.enter_module(name, is_on=is_watched and self.hooks is not None)
        try:
            if not is_watched or self.is_on:
                return func(*args, **kwargs)
            if name in self.watched.prepared:
                return self.__torch_function__(func, (), args, kwargs)
            routed: list[tuple[Operator, Call]] = []
            self._routed = routed
            result = self.__torch_function__(func, (), args, kwargs)
            is_first = name not in self._first_calls  # of a module that is called twice in a pass neither is kept
            self._first_calls[name] = prepared(module, *routed[0]) if is_first and len(routed) == 1 else None
            return result
        finally:
            self._routed = None
            self.leave_module(before)

    def switch(self, is_on: bool) -> bool:
        """Lets calls come here from now on, or no longer; returns what was before.

        Nothing changes where another mode or other hooks were put on top: they would be removed in their place.
        """
        before = self.is_on
        if is_on is before:
            return before
        if is_on:
            if self.hooks is not None:
                self.hooks.__enter__()
            torch._C._push_on_torch_function_stack(self)  # what `__enter__` does
        else:
            if not self._is_on_top():
                return before
            torch._C._pop_torch_function_stack()
            if self.hooks is not None:
                self.hooks.__exit__()
        self.is_on = is_on
        return before

    def _is_on_top(self) -> bool:
        depth = torch._C._len_torch_function_stack()
        if depth == 0 or torch._C._get_function_stack_at(depth - 1) is not self:
            return False
        top = None if self.hooks is None else _autograd._top_saved_tensors_default_hooks(True)
        return self.hooks is None or (top is not None and top[0] == self.hooks.pack_hook)

    # ---------------------------------------------------------------- calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.paused:
            return func(*args, **kwargs) if kwargs else func(*args)
        self.num_calls += 1
        if types and PendingNorm in types:
            return self._call_with_pending(func, args, kwargs or {})
        if self._pending and may_write(func, args, kwargs or {}):
            self._watch()
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
        instead = matched_call(func, args, kwargs or {})
        if instead is not None:
            self._watch()
            func, args, kwargs = instead
        return func(*args, **kwargs) if kwargs else func(*args)

    def _watch(self) -> None:
        """A call of the module that runs must not run as it is written."""
        if self._learning is not None:
            self._learning[1].paths.add(self.path)

    def _route(self, operator: Operator, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        is_sparse = bool(args) and isinstance(args[0], Tensor) and args[0].layout is not torch.strided  # or nested
        given = None if is_sparse else operator.bind(func, args, kwargs)
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
        return self._run(operator, call)

    def _run(self, operator: Operator, call: Call) -> Any:
        if self._routed is not None:
            self._routed.append((operator, call))
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
        if self.defers_norms and (self.watched is None or site.name in self.watched.deferred):
            if self._learning is not None:
                self._born[site.name] = self.num_calls
            return self.defer(given["input"], operator.norm_call(given, site.name))
        return self._run(operator, call)

    def defer(self, raw: Tensor, norm: NormCall) -> PendingNorm:
        """A pending norm that this session evaluates, at the latest when the model returns."""
        pending = PendingNorm.of(raw, norm, self)
        self._pending.add(pending)
        return pending

    def takes_pending(self, pending: PendingNorm) -> None:
        """Something other than an evaluation becomes of a pending norm."""
        if self._learning is not None:
            self._learning[1].norm_waited(pending.call.site)

    def _call_with_pending(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        if isinstance(first, PendingNorm) and first.value is None:
            if is_metadata(func):
                self.num_calls -= 1  # nothing runs on the device
                return func(first.raw, *args[1:], **kwargs)
            result = moved(first, func, args[1:], kwargs)
            if result is not None:
                self.takes_pending(first)
                return result
        args, kwargs = evaluated((args, kwargs))
        self.num_calls -= 1  # counted once
        return self.__torch_function__(func, (), args, kwargs)

    def evaluate(self, raw: Tensor, norm: NormCall) -> Tensor:
        """The norm of a pending one."""
        if self._learning is not None:
            if self.num_calls - self._born.get(norm.site, -1) > 1:
                self._learning[1].norm_waited(norm.site)
            elif not runs_as_stock(raw, norm):
                self._learning[1].paths.add(norm.site.rpartition(":")[0])
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
