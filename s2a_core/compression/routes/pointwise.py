"""Activations and dropout: a table index, a mask, or the stock operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.compression.routes.calls import Route, bound, check, keeps_something, packed, stock
from s2a_core.compression.writes import may_write
from s2a_core.kernels import Histogram
from s2a_core.ops import ActivationFunction, DropoutFunction, MaskedFunction
from s2a_core.storage import Storage

if TYPE_CHECKING:
    from s2a_core.compression.session import Session


# Options that a smooth activation has beside its input, and their values in the derivative tables.
_SHAPED: dict[str, dict[str, Any]] = {"elu": {"alpha": 1.0}, "softplus": {"beta": 1.0, "threshold": 20.0}}


def activation(name: str) -> Route:
    """A smooth activation by name."""

    def handle(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["input"]
        if not keeps_something(x):
            return func(*args, **kwargs)
        variant = name
        if name == "gelu" and (args[1] if len(args) > 1 else kwargs.get("approximate", "none")) == "tanh":
            variant = "gelu_tanh"
        site = session.site(name)
        session.record(site, x)
        if session.histograms is not None:
            session.histograms[site.name] = (variant, Histogram.of(x))
        shape = _SHAPED.get(name, {})
        given = bound(("input", *shape), shape, args, kwargs)
        if site.storage.bits is None or any(given[option] != usual for option, usual in shape.items()):
            return stock(session, site, func, args, kwargs)
        check(site.name, x)
        table = session.table(site.name, variant, site.storage.bits)
        with session.attributed_to(packed(site)):
            y = ActivationFunction.apply(x, variant, table)
        return x.copy_(y) if may_write(func, args, kwargs) else y

    return handle


def piecewise(name: str) -> Route:
    """A piecewise linear activation by name."""

    def handle(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["input"]
        if not keeps_something(x):
            return func(*args, **kwargs)
        site = session.site(name)
        session.record(site, x)
        if site.storage is Storage.EXACT or site.storage is Storage.NONE:
            return stock(session, site, func, args, kwargs)
        check(site.name, x)
        site.storage = Storage.MASK
        params = _piecewise_params(name, args, kwargs)
        wants_inplace = may_write(func, args, kwargs)
        with session.attributed_to(packed(site)):
            if wants_inplace and (x._is_view() or x.is_leaf):
                return x.copy_(MaskedFunction.apply(x, name, params, False))
            return MaskedFunction.apply(x, name, params, wants_inplace)

    return handle


def _piecewise_params(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[float, ...]:
    if name == "leaky_relu":
        return (float(kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)),)
    if name == "hardtanh":
        low = kwargs.get("min_val", args[1] if len(args) > 1 else -1.0)
        return (float(low), float(kwargs.get("max_val", args[2] if len(args) > 2 else 1.0)))
    return ()


def dropout(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Dropout; nothing at all where nothing is dropped."""
    given = bound(("input", "p", "training", "inplace"), {"p": 0.5, "training": True, "inplace": False}, args, kwargs)
    x = given["input"]
    if not given["training"] or given["p"] == 0.0:
        return x
    if not keeps_something(x) or given["inplace"]:
        return func(*args, **kwargs)
    site = session.site("dropout")
    session.record(site, x)
    if site.storage is Storage.EXACT:
        return stock(session, site, func, args, kwargs)
    check(site.name, x)
    site.storage = Storage.MASK
    with session.attributed_to(packed(site)):
        return DropoutFunction.apply(x, float(given["p"]))
