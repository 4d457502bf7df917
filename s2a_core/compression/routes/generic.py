"""Operators without a storage of their own: what they keep is coded by the saved-tensor hook, under a counted site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from s2a_core.compression.routes.calls import Route, keeps_something, stock

if TYPE_CHECKING:
    from s2a_core.compression.session import Session


def hooked(op: str) -> Route:
    """Stock operator whose saved tensors the saved-tensor hook codes, under a site with a counter."""

    def handle(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not keeps_something(*tensors) or (op == "mul" and len(tensors) < 2):
            return func(*args, **kwargs)
        site = session.site(op)
        if session.specs is not None:
            kept = _kept_operand(op, tensors)
            if kept is not None:
                session.record(site, kept)
        return stock(session, site, func, args, kwargs)

    return handle


def _kept_operand(op: str, tensors: list[Tensor]) -> Tensor | None:
    """The largest tensor that autograd keeps: an operand whose partner needs a gradient, and is no parameter."""
    if op in ("softmax", "normalize", "group_norm") or len(tensors) < 2:
        return tensors[0]
    kept = [a for a, b in (tensors[:2], tensors[1::-1]) if b.requires_grad and not (a.is_leaf and a.requires_grad)]
    return max(kept, key=Tensor.numel, default=None)
