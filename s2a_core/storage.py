"""How a site keeps what it saves for backward, and the policy that says so for every site. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

FrozenWeights = Literal["keep", "bf16"]
# How large frozen weights are kept: as numbers of their dtype, or as codes that each product decodes.
WeightFormat = Literal["float", "int8", "nf4"]
Optimizer = Literal["adamw", "adamw8bit"]
OPTIMIZERS: tuple[Optimizer, ...] = ("adamw", "adamw8bit")
AS_NEEDED = "auto"  # of a request: the plan's choice
WEIGHT_FORMATS: tuple[WeightFormat, ...] = ("float", "int8", "nf4")


def weight_words(weight_format: str | None, wide_weights: Collection[str] = ()) -> str:
    """` with int8 weights but for 3`, to follow a precision; nothing where weights are numbers."""
    but = f" but for {len(wide_weights)}" if wide_weights else ""
    return f" with {weight_format} weights{but}" if weight_format in WEIGHT_FORMATS[1:] else ""


class Storage(StrEnum):
    """What a site keeps between forward and backward."""

    EXACT = "exact"  # what stock PyTorch keeps
    B8 = "b8"  # packed codes of 8 bits, and so on down to 1
    B6 = "b6"
    B5 = "b5"
    B4 = "b4"
    B3 = "b3"
    B2 = "b2"
    B1 = "b1"
    MASK = "mask"  # one bit, or an offset in a pooling window; the gradient is exact
    NONE = "none"  # nothing, because nothing is needed; for a region: the region is not used

    @property
    def bits(self) -> int | None:
        """Bits of a code, None for storages that are not codes."""
        return int(self.value[1:]) if self.value[0] == "b" else None


# Sites that stand for everything inside of them: `blocks.0.mlp:region`.
WHOLE = ("region", "block")
CODES = (Storage.B8, Storage.B6, Storage.B5, Storage.B4, Storage.B3, Storage.B2, Storage.B1)

# Where every site has one width, two kinds that bear few bits badly have these at least. LoRA's layers: the gradients
# of MobileNetV2's are off by 3 to 6 % at 4 bits, by 1 to 2 % at 6, where 60 runs on trashnet6 ended .4 +- .35 points
# under as many exact ones; a transformer's stand inside regions, which bear 4. And linear layers of one row an image:
# few bytes, but the head's gradient is the largest of all, and at 4 bits 5 % off and too short in every step.
LOW_RANK = ("low_rank_linear", "low_rank_conv")
SENSITIVE_BITS = 8


def uniform_storage(
    op: str, shape: tuple[int, ...], offered: Collection[Storage], bits: int, recompute: bool
) -> Storage:
    """Storage of a site of this operator where every site has `bits`: exact masks or nothing where that is enough.

    shape: of what it keeps of one sample. With recompute, regions instead of the sites inside them; blocks are not
    used. LoRA's layers and linear layers of one row a sample have 8 bits at least.
    """
    is_sensitive = op in LOW_RANK or (op == "linear" and len(shape) == 1)
    width = Storage(f"b{max(bits, SENSITIVE_BITS) if is_sensitive else bits}")
    if op in WHOLE:
        return width if recompute and op == "region" and width in offered else Storage.NONE
    return next((storage for storage in (Storage.MASK, Storage.NONE, width) if storage in offered), Storage.EXACT)


def whole_of(site: str) -> str:
    """`region` or `block` for the name of a site that stands for a whole one, else nothing."""
    kind = site.rpartition(":")[2]
    return kind if kind in WHOLE else ""


def storage_words(storage: str, whole: str = "") -> str:
    """How a site is kept, for people: `4-bit codes`, `region rebuilt from 4 bits`. whole: region, block or nothing."""
    if whole:
        return f"{whole} run as it is" if storage == "none" else f"{whole} rebuilt from {storage[1:]} bits"
    words = {"exact": "exact", "mask": "exact masks", "none": "nothing"}
    return words.get(storage, f"{storage[1:]}-bit codes" if storage[:1] == "b" else storage)


def kept_as(whole: str, storage: str) -> str:
    """What a plan's `held_by_storage` calls a site's storage: `b4`, or `region b4` for a whole region."""
    return f"{whole} {storage}".strip()


@dataclass(frozen=True)
class FittedTable:
    """Derivative values of one activation site at one width, fitted to its inputs: 2^bits levels between borders."""

    site: str
    bits: int
    borders: tuple[float, ...]
    levels: tuple[float, ...]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FittedTable:
        """The table `dataclasses.asdict` and JSON made a document of."""
        borders, levels = tuple(map(float, document["borders"])), tuple(map(float, document["levels"]))
        bits = int(document["bits"])
        if len(levels) != 1 << bits or len(borders) != len(levels) - 1:
            raise ValueError(f"a table of {bits} bits has {1 << bits} levels, not {len(levels)}")
        return cls(str(document["site"]), bits, borders, levels)


@dataclass(frozen=True)
class StoragePolicy:
    """Which storage each site uses, and how regions run.

    sites: site name -> storage; default: storage of the sites it does not name.
    chunk_samples: samples per chunk in regions and blocks, 0 runs them whole.
    frozen_weights: the dtype of frozen weights; weight_format: how the large ones among them are coded, but for those
    of wide_weights, by name.
    tables: of activation sites that have one of their own; the others use the universal one.
    """

    sites: Mapping[str, Storage] = field(default_factory=dict)
    default: Storage = Storage.EXACT
    chunk_samples: int = 0
    frozen_weights: FrozenWeights = "keep"
    weight_format: WeightFormat = "float"
    wide_weights: tuple[str, ...] = ()
    tables: tuple[FittedTable, ...] = ()

    def storage(self, site: str) -> Storage:
        """Storage of a site."""
        return self.sites.get(site, self.default)
