"""What an operator is given: one call of a torch function, the site it belongs to, and what is to become of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from s2a_core.errors import UnsupportedSite
from s2a_core.kernels import SUPPORTED_DTYPES
from s2a_core.storage import FittedTable, Storage


class Intent(StrEnum):
    """What the tensors are that autograd saves in a call. The value is the reason a ledger gives."""

    STOCK = ""  # operands: kept exact, or coded by the saved-tensor hook at the site's bits
    CODES = "codes"  # already packed by the operator
    FROZEN_WEIGHT = "a frozen weight, in the dtype autocast uses"
    FROZEN_STATISTICS = "frozen statistics: the scale of each channel"
    SHAPES = "shapes alone"
    REGION = "x̂ of the region"
    UNKNOWN = "an argument or a layout that the operator's declaration does not know"


@dataclass(slots=True, eq=False)
class Site:
    """Where a call stands in the model, and how it keeps what it saves.

    exact_shapes: of weights among the saved tensors, which are never coded.
    """

    name: str
    op: str
    storage: Storage
    intent: Intent = Intent.STOCK
    exact_shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(slots=True, eq=False)
class Call:
    """One call of a torch function. given: its arguments by name; batch: samples of the model's input, 0 if unknown.

    tables: (site, bits) -> the derivative table fitted to that site.
    """

    site: Site
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: dict[str, Any]
    batch: int = 0
    tables: Mapping[tuple[str, int], FittedTable] | None = None

    def stock(self) -> Any:
        """The call as the model wrote it."""
        return self.func(*self.args, **self.kwargs)


def saves_tensors(*operands: Any) -> bool:
    """Whether autograd would save anything for these operands."""
    return torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in operands)


def check_packable(site: str, x: Tensor) -> None:
    """Raises UnsupportedSite unless x has a dtype and a device that codes exist for."""
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


def rows_per_sample(x: Tensor, batch: int) -> int:
    """Rows of channels that belong to one of `batch` samples: tokens, or windows times tokens. x: [rows, ..., C]."""
    rows = x.numel() // max(x.shape[-1], 1)
    samples = batch if batch and x.shape[0] % batch == 0 else x.shape[0]
    return max(rows // max(samples, 1), 1)


def autocast_enabled(x: Tensor) -> bool:
    """Whether autocast casts the operands of products on x's device."""
    return torch.is_autocast_enabled(x.device.type)
