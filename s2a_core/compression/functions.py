"""What a model's own `autograd.Function` is given: values."""

from __future__ import annotations

import threading
from typing import Any

from torch.autograd import Function

from s2a_core.compression.pending import evaluated

_lock = threading.Lock()
_num_open = 0
_stock = Function.__dict__["apply"]


def _apply(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
    args, kwargs = evaluated((args, kwargs))
    return _stock.__get__(None, cls)(*args, **kwargs)


_of_values = classmethod(_apply)


class FunctionsSeeValues:
    """Inside, every `autograd.Function` gets values for pending norms, which it would take as they are: no gradient.

    `Function.apply` belongs to the whole process: the first of several sessions, in whatever thread, replaces it and
    the last one to leave puts it back.
    """

    def __enter__(self) -> None:
        global _num_open
        with _lock:
            _num_open += 1
            if _num_open == 1:
                Function.apply = _of_values  # type: ignore[assignment]

    def __exit__(self, *exception: Any) -> None:
        global _num_open
        with _lock:
            _num_open -= 1
            if _num_open == 0:
                Function.apply = _stock
