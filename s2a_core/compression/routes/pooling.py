"""Pooling: offsets inside the window, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.compression.routes.calls import bound, check, keeps_something, packed, stock
from s2a_core.compression.sites import options_of
from s2a_core.kernels.layout import LARGEST_WINDOW
from s2a_core.ops import AvgPoolFunction, MaxPoolFunction
from s2a_core.storage import Storage

if TYPE_CHECKING:
    from s2a_core.compression.session import Session


def _pair(v: Any) -> tuple[int, int]:
    if isinstance(v, tuple | list):
        return (int(v[0]), int(v[-1]))
    return (int(v), int(v))


def max_pool2d(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.max_pool2d."""
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    given = bound(
        names, {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}, args, kwargs
    )
    x = given["input"]
    if not keeps_something(x) or given["return_indices"] or x.dim() != 4:
        return func(*args, **kwargs)
    site, kernel = session.site("max_pool2d"), _pair(given["kernel_size"])
    is_offered = kernel[0] * kernel[1] <= LARGEST_WINDOW
    session.record(site, x, None if is_offered else (Storage.EXACT,))
    if site.storage is Storage.EXACT or not is_offered:
        return stock(session, site, func, args, kwargs)
    check(site.name, x)
    site.storage = Storage.MASK
    stride = kernel if given["stride"] in (None, [], ()) else _pair(given["stride"])
    with session.attributed_to(packed(site)):
        return MaxPoolFunction.apply(
            x, kernel, stride, _pair(given["padding"]), _pair(given["dilation"]), bool(given["ceil_mode"])
        )


def avg_pool2d(session: Session, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.avg_pool2d."""
    names = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    given = bound(
        names,
        {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True, "divisor_override": None},
        args,
        kwargs,
    )
    x = given["input"]
    if not keeps_something(x) or x.dim() != 4:
        return func(*args, **kwargs)
    site = session.site("avg_pool2d")
    session.record(site, x, options_of("avg_pool2d"))
    if site.storage is Storage.EXACT:
        return stock(session, site, func, args, kwargs)
    kernel = _pair(given["kernel_size"])
    stride = kernel if given["stride"] in (None, [], ()) else _pair(given["stride"])
    options = (kernel, stride, _pair(given["padding"]), *(given[n] for n in names[4:]))
    site.storage, site.reason = Storage.NONE, "shapes alone"
    with session.attributed_to(site):
        return AvgPoolFunction.apply(x, options)
