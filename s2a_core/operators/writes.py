"""Which torch calls may change a tensor in place, by how they are written."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch import Tensor


def may_write(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call changes one of its operands: `relu_`, `x += y`, `x[0] = y`, `inplace=True`, `out=`."""
    name: str = func.__name__
    if func is Tensor.__setitem__ or name in _IN_PLACE_OPERATORS or kwargs.get("out") is not None:
        return True
    if name.endswith(("_", "_)")) and not name.endswith("__"):
        return True
    position = _position_of_inplace(func)
    return bool(kwargs.get("inplace", False) if position is None or len(args) <= position else args[position])


@functools.cache
def _position_of_inplace(func: Any) -> int | None:
    """Where `inplace` stands among a Python function's parameters; None where it has none."""
    try:
        parameters = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):  # a builtin
        return None
    return parameters.index("inplace") if "inplace" in parameters else None


_IN_PLACE_OPERATORS = frozenset(
    f"__i{name}__" for name in ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
)
