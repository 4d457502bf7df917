"""The declaration of an operator: which torch functions it stands for, what it may store, and how it runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from s2a_core.operators.call import Call, saves_tensors
from s2a_core.operators.signature import bound, defaults
from s2a_core.storage import CODES, Storage


class Operator:
    """One operator under all its spellings. Subclasses say how it stores less than stock does.

    name: what sites, plans and reports call it; functions: the torch functions that are routed to it, none where its
    saved tensors are coded wherever they appear; spellings: further `__name__`s of stock calls that mean it.
    knows: names of arguments it takes at any value. A call with another one that is not the default runs as it is.
    """

    knows: frozenset[str] = frozenset({"input"})
    operands: ClassVar[tuple[str, ...]] = ("input",)  # arguments whose gradients make autograd save something
    packs: ClassVar[bool] = True  # what it saves is in its own format; else the saved-tensor hook codes it
    is_roundable: ClassVar[bool] = False  # stock's gradient stays near where its saved tensors are rounded

    def __init__(self, name: str, *functions: Callable[..., Any], spellings: tuple[str, ...] = ()) -> None:
        self.name, self.functions, self.spellings = name, functions, spellings

    @property
    def storages(self) -> tuple[Storage, ...]:
        """What a site of it can be planned as, most exact first."""
        return (Storage.EXACT,)

    def bind(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The call's arguments by name; None where it has one that this declaration does not know."""
        given = bound(func, args, kwargs)
        if given is None:
            return None
        for name, default in _others(func, self.knows):
            if isinstance(given[name], Tensor) or given[name] != default:
                return None
        return given

    def saves(self, given: dict[str, Any]) -> bool:
        """Whether autograd would save anything."""
        return saves_tensors(*(given[name] for name in self.operands))

    def without_gradient(self, call: Call) -> Any:
        """The call where nothing is saved."""
        return call.stock()

    def offered(self, given: dict[str, Any]) -> tuple[Storage, ...]:
        """What this very call can be planned as."""
        return self.storages

    def listed(self, given: dict[str, Any]) -> Tensor | None:
        """The tensor whose shape and dtype stand for the site; None where nothing that can be planned is saved."""
        x = given["input"]
        return x if isinstance(x, Tensor) else None

    def prepared(self, call: Call) -> Callable[[Tensor], Any] | None:
        """What `run` does for calls that differ from this one by the values of their input alone.

        None where they run as stock, or each has to be looked at. It holds no input of this call.
        """
        return None

    def run(self, call: Call) -> Any:
        """The call under its site's storage. Sets the site's intent, and its storage where it differs from the plan."""
        raise NotImplementedError


@functools.cache
def _others(func: Callable[..., Any], knows: frozenset[str]) -> tuple[tuple[str, Any], ...]:
    """Parameters of a function that a declaration does not know, with their defaults."""
    return tuple((name, default) for name, default in (defaults(func) or {}).items() if name not in knows)


HOOKED_CODES = CODES[:-1]  # the saved-tensor hook codes any tensor; one bit is too coarse for all of them
