"""The `forward` methods that stand in for a model's own while a session is open: they say which module runs.

Made once for a model and a plan; entering the session again only puts them in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from s2a_core.compression.intercept import Interceptor
from s2a_core.compression.pending import evaluated
from s2a_core.compression.regions import Region, run_region

Forward = Callable[..., Any]


class BoundModules:
    """Every module of a model, with a forward that names it. begin, end: around each forward pass."""

    def __init__(
        self,
        model: nn.Module,
        interceptor: Interceptor,
        regions: Mapping[str, Region],
        begin: Callable[[tuple[Any, ...]], None],
        end: Callable[[], None],
    ) -> None:
        self._bound: list[tuple[nn.Module, Any, Forward, Callable[[Forward], Forward]]] = []
        self._replaced: list[tuple[dict[str, Any], Any]] = []
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if module is model:
                make = functools.partial(_root, begin, end)
            else:
                make = functools.partial(_named, interceptor, name, regions.get(name))
            own = vars(module).get("forward")
            self._bound.append((module, own, make(module.forward), make))

    def install(self) -> None:
        """Puts the forwards in place."""
        for module, own, forward, make in self._bound:
            attributes = vars(module)
            current = attributes.get("forward")
            if current is not own:  # replaced since
                forward = make(module.forward)
            self._replaced.append((attributes, current))
            attributes["forward"] = forward

    def remove(self) -> None:
        """Every module's own forward again, or its class's where it had none of its own."""
        for attributes, own in self._replaced:
            if own is None:
                del attributes["forward"]
            else:
                attributes["forward"] = own
        self._replaced.clear()


def _root(begin: Callable[[tuple[Any, ...]], None], end: Callable[[], None], own: Forward) -> Forward:
    def forward(*args: Any, **kwargs: Any) -> Any:
        begin((*args, *kwargs.values()))
        try:
            return evaluated(own(*args, **kwargs))
        finally:
            end()

    forward.__wrapped__ = own  # type: ignore[attr-defined]  # its signature, for who asks
    return forward


def _named(interceptor: Interceptor, name: str, region: Region | None, own: Forward) -> Forward:
    run = own if region is None else functools.partial(run_region, interceptor, region, own)

    def forward(*args: Any, **kwargs: Any) -> Any:
        before, interceptor.path = interceptor.path, name
        try:
            return run(*args, **kwargs)
        finally:
            interceptor.path = before

    forward.__wrapped__ = own  # type: ignore[attr-defined]
    return forward
