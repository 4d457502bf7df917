"""Which hooks may run inside a module that is rebuilt in backward, in chunks and without autograd's record.

Such a module shows its hooks pieces of its batch, twice, and tensors that no gradient flows through. A hook that only
computes its module's output from what it is given is right there; one that keeps a tensor for later is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

_Hook = TypeVar("_Hook", bound=Callable[..., Any])


def pure(hook: _Hook) -> _Hook:
    """Declare a hook that reads and writes nothing but its arguments and its module's parameters."""
    hook.is_pure = True  # type: ignore[attr-defined]
    return hook


class PairedHooks:
    """Base of an object whose hooks hand a tensor from one module to a later one, and keep nothing beyond that."""


class RebuildableHooks:
    """What the hooks of a model allow, read once; hooks that are registered later are not known."""

    def __init__(self, model: nn.Module) -> None:
        hooks = [(name, hook) for name, module in model.named_modules() for hook in _hooks(module)]
        self._stateful = [(name, hook) for name, hook in hooks if not getattr(hook, "is_pure", False)]
        self._modules_of: dict[int, set[str]] = {}  # of each pair of hooks
        for name, hook in self._stateful:
            self._modules_of.setdefault(id(_owner(hook)), set()).add(name)

    def allow(self, name: str) -> bool:
        """Whether the module of that name can be rebuilt: what its hooks hand on stays inside of it."""
        prefix = f"{name}." if name else ""

        def is_inside(other: str) -> bool:
            return other != name and other.startswith(prefix)

        owners = [_owner(hook) for other, hook in self._stateful if is_inside(other)]
        return all(isinstance(o, PairedHooks) and all(map(is_inside, self._modules_of[id(o)])) for o in owners)


@contextmanager
def without_gradient_hooks(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Inside, gradient hooks of parameters do not run: they are for the sum over chunks, which autograd shows them."""
    hooks = [(p._backward_hooks, dict(p._backward_hooks)) for p in parameters if p._backward_hooks]
    for current, _ in hooks:
        current.clear()
    try:
        yield
    finally:
        for current, own in hooks:
            current.update(own)


def _hooks(module: nn.Module) -> Iterator[Callable[..., Any]]:
    yield from module._forward_pre_hooks.values()
    yield from module._forward_hooks.values()


def _owner(hook: Callable[..., Any]) -> Any:
    return getattr(hook, "__self__", hook)
