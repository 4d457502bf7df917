"""The `forward` methods that stand in for a model's own while a session is open: they say which module runs.

Made once for a model and a plan; entering the session again only puts them in place. In a forward pass whose watched
modules are known, the others have their own again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from s2a_core.compression.direct import direct_call
from s2a_core.compression.forwards import put_back
from s2a_core.compression.intercept import Interceptor
from s2a_core.compression.pending import evaluated
from s2a_core.compression.regions import Region, run_region
from s2a_core.compression.watched import WatchedModules

Forward = Callable[..., Any]
Around = Callable[[tuple[Any, ...], dict[str, Any]], AbstractContextManager[None]]


class BoundModules:
    """Every module of a model, with a forward that names it. around: entered with its inputs by each forward pass."""

    def __init__(
        self, model: nn.Module, interceptor: Interceptor, regions: Mapping[str, Region], around: Around
    ) -> None:
        self._names: list[str] = []
        self._regions = regions
        self._bound: list[tuple[dict[str, Any], Any, Forward, Callable[[Forward], Forward], nn.Module]] = []
        self._installed: list[tuple[dict[str, Any], Any, Forward]] = []
        self._others: dict[WatchedModules, list[int]] = {}
        self._without_calls = {name for name, m in model.named_modules() if type(m) is nn.Identity}
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if module is model:
                make = functools.partial(_root, around)
            else:
                make = functools.partial(_named, interceptor, name, module, regions.get(name))
            attributes = vars(module)
            self._names.append(name)
            self._bound.append((attributes, attributes.get("forward"), make(module.forward), make, module))

    def install(self) -> None:
        """Puts the forwards in place."""
        for attributes, own, forward, make, module in self._bound:
            current = attributes.get("forward")
            if current is not own:  # replaced since
                forward = make(module.forward)
            attributes["forward"] = forward
            self._installed.append((attributes, current, forward))

    def remove(self) -> None:
        """Every module's own forward again, or its class's where it had none of its own."""
        for attributes, own, _ in self._installed:
            put_back(attributes, own)
        self._installed.clear()

    def leave_only(self, watched: WatchedModules) -> None:
        """Takes the forwards away from modules that need none, until `complete`."""
        for index in self._unwatched(watched):
            attributes, own, _ = self._installed[index]
            put_back(attributes, own)

    def complete(self, watched: WatchedModules) -> None:
        """Puts the forwards in place that `leave_only` took away."""
        for index in self._unwatched(watched):
            attributes, _, forward = self._installed[index]
            attributes["forward"] = forward

    def _unwatched(self, watched: WatchedModules) -> list[int]:
        """Positions of modules that need no forward of ours: no region, not watched, nor called by a watched one."""
        others = self._others.get(watched)
        if others is None:
            needed = {"", *self._regions, *watched.paths}
            needed |= {name for name, callers in watched.callers.items() if callers & watched.paths}
            needed -= self._without_calls
            others = self._others[watched] = [i for i, name in enumerate(self._names) if name not in needed]
        return others


def _root(around: Around, own: Forward) -> Forward:
    def forward(*args: Any, **kwargs: Any) -> Any:
        with around(args, kwargs):
            return evaluated(own(*args, **kwargs))

    forward.__wrapped__ = own  # type: ignore[attr-defined]  # its signature, for who asks
    return forward


def _named(interceptor: Interceptor, name: str, module: nn.Module, region: Region | None, own: Forward) -> Forward:
    run = own if region is None else functools.partial(run_region, interceptor, region, own)
    call_of = direct_call(module) if region is None else None

    def forward(*args: Any, **kwargs: Any) -> Any:
        if interceptor.paused:
            return run(*args, **kwargs)
        if call_of is not None and interceptor.watched is not None and len(args) == 1 and type(args[0]) is Tensor:
            known = interceptor.prepared_call(name, args[0])
            if known is not None and not kwargs:
                return known.run(args[0])
            call = call_of(module, args[0])
            if call is not None and not kwargs:
                return interceptor.call_of_module(name, module, *call)
        before = interceptor.enter_module(name)
        try:
            return run(*args, **kwargs)
        finally:
            interceptor.leave_module(before)

    forward.__wrapped__ = own  # type: ignore[attr-defined]
    return forward
