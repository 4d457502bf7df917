"""Arguments of a torch call by name, as the function's real signature has them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

REQUIRED = inspect.Parameter.empty
# Functions that choose between two others by an argument, and one with the signature of both.
_DISPATCHED: dict[Any, Any] = {F.max_pool2d: F.max_pool2d_with_indices}


@functools.cache
def defaults(func: Callable[..., Any]) -> dict[str, Any] | None:
    """Parameter -> default (REQUIRED without one) in order; None where torch says neither in Python nor in a schema.

    `self` of a method or a schema is called `input`, as in `torch.nn.functional`.
    """
    try:
        parameters = inspect.signature(_DISPATCHED.get(func, func)).parameters.values()
        return {"input" if p.name == "self" else p.name: p.default for p in parameters}
    except (TypeError, ValueError):
        pass  # a builtin
    packet = getattr(torch.ops.aten, getattr(func, "__name__", ""), None)
    schema = getattr(getattr(packet, "default", None), "_schema", None)
    if schema is None:
        return None
    return {
        "input" if a.name == "self" else a.name: a.default_value if a.has_default_value() else REQUIRED
        for a in schema.arguments
    }


def bound(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Every parameter of a call with its value; None where the call has an argument that the signature has not."""
    names = defaults(func)
    if names is None or len(args) > len(names):
        return None
    given = {**names, **dict(zip(names, args, strict=False))}
    for name, value in kwargs.items():
        if name not in names:
            return None
        given[name] = value
    return given
