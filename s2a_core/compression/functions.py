"""What a model's own `autograd.Function` is given: values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.autograd import Function

from s2a_core.compression.pending import evaluated


@contextmanager
def functions_see_values() -> Iterator[None]:
    """Inside, every `autograd.Function` gets values for pending norms, which it would take as they are: no gradient."""
    stock = Function.__dict__["apply"]

    def apply(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
        args, kwargs = evaluated((args, kwargs))
        return stock.__get__(None, cls)(*args, **kwargs)

    Function.apply = classmethod(apply)  # type: ignore[assignment]
    try:
        yield
    finally:
        Function.apply = stock
