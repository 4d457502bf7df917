"""What the product must know of one kind of adapter, as a declaration. Imports no torch: services read it too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2a_core.errors import InternalError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from s2a_core.adapters.backbone import Backbone


@dataclass(frozen=True)
class Rates:
    """AdamW's learning rates for what a kind trains.

    tokens: in networks without BatchNorm; maps: in networks with it; limit: the largest rate for a given model, where
    its widths set one. Tried by `python scripts/accuracy.py --sweep` on training photos that no run of the accuracy
    table sees (docs/accuracy/sweep.jsonl); a rate without a row there is the usual one of its literature.
    """

    tokens: float
    maps: float
    limit: Callable[[nn.Module], float] | None = None

    def __post_init__(self) -> None:
        if not (self.tokens > 0 and self.maps > 0):
            raise InternalError(f"learning rates must be positive, not {self.tokens} and {self.maps}")


@dataclass(frozen=True)
class Options:
    """What a request says of a kind. rank: of low-rank parts; reduction: backbone channels per channel of a branch."""

    rank: int
    reduction: int


@dataclass(frozen=True)
class Kind:
    """One kind of adapter. Everything that names or treats kinds derives from these fields.

    name: its word in `--adapter`.
    label: what it trains, as forms and help say it.
    rates: None only for what trains nothing beside the classifier, which has a rate of its own.
    attach: makes its part of a frozen model trainable, or adds modules to it; the outputs stay as they were.
    merge: folds it into a state dict of the plain model, in place; None where the plain model has no place for it.
    no_merge: why there is no merge, for people.
    is_combinable: whether it may be joined with others by commas.
    rank: where a request says none.
    fallback: the order in which planning tries it after `auto`; each holds fewer bytes than the one before.
    """

    name: str
    label: str
    rates: Rates | None
    attach: Callable[[Backbone, Options], None]
    merge: Callable[[nn.Module, dict[str, Tensor]], None] | None = None
    no_merge: str = ""
    is_combinable: bool = True
    rank: int = 8
    fallback: int | None = None

    def __post_init__(self) -> None:
        if (self.merge is None) != bool(self.no_merge):
            raise InternalError(f"{self.name} must either merge or say why it does not")


def merges_in_place(model: nn.Module, state: dict[str, Tensor]) -> None:
    """The merge of kinds that train weights which the plain model has: they are there already."""
