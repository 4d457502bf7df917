"""What every route needs: whether a call keeps anything, whether its tensor can be packed, and running it as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from s2a_core.errors import UnsupportedSite
from s2a_core.kernels import SUPPORTED_DTYPES

if TYPE_CHECKING:
    from s2a_core.compression.session import Session
    from s2a_core.compression.sites import Site

Route = Callable[["Session", Any, tuple[Any, ...], dict[str, Any]], Any]


def keeps_something(*tensors: Any) -> bool:
    """Whether autograd would keep anything for these operands."""
    return torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in tensors)


def check(site: str, x: Tensor) -> None:
    """Raises UnsupportedSite unless x can be packed."""
    if x.dtype not in SUPPORTED_DTYPES:
        names = ", ".join(str(d).removeprefix("torch.") for d in SUPPORTED_DTYPES)
        raise UnsupportedSite(
            f"{site} has dtype {str(x.dtype).removeprefix('torch.')}; packed storage takes {names}: "
            "cast the model, or plan this site as exact",
            details={"site": site, "dtype": str(x.dtype)},
        )
    if x.device.type not in ("cpu", "cuda"):
        raise UnsupportedSite(
            f"{site} is on {x.device}; packed storage runs on cpu and cuda: plan this site as exact",
            details={"site": site, "device": str(x.device)},
        )


def stock(session: Session, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs the call as it is, under the name of its site."""
    with session.attributed_to(site):
        return func(*args, **kwargs)


def packed(site: Site) -> Site:
    """The site with a reason, which keeps the fallback from coding our own payloads again."""
    site.reason = "codes"
    return site


def bound(
    names: tuple[str, ...], defaults: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The call's arguments by name, defaults where it gives none."""
    return {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
