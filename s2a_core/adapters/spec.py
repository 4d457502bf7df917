"""Which parts of a model are trained, as a value that plans, reports and services carry. Imports no torch.

Measured: mean validation accuracy in % on the CIFAR-10 subset, (runs), of docs/accuracy; planned is what s2a makes of
a third of full fine-tuning's memory; compressed is 4 bits, of LoRA outside regions 6.

    full exact: deit_tiny 70.4 (3), mobilenetv2 67.1 (8)
    full compressed: deit_tiny 69.5 (3), mobilenetv2 67.4 (5)
    head exact: deit_tiny 44.0 (3), mobilenetv2 54.4 (8)
    head compressed: deit_tiny 44.0 (3), mobilenetv2 54.4 (8)
    auto exact: deit_tiny 72.7 (5), mobilenetv2 65.2 (8)
    auto compressed: deit_tiny 72.1 (5), mobilenetv2 64.9 (8)
    auto planned: deit_tiny 73.0 (3), mobilenetv2 67.5 (5)
    bias exact: deit_tiny 74.3 (5), mobilenetv2 60.6 (3)
    bias compressed: deit_tiny 74.2 (5), mobilenetv2 60.9 (3)
    norm exact: mobilenetv2 62.9 (3)
    norm compressed: mobilenetv2 62.3 (3)
    side exact: deit_tiny 59.4 (3), mobilenetv2 60.1 (3)
    side compressed: deit_tiny 59.6 (3), mobilenetv2 60.5 (3)
    lora exact: deit_tiny 74.3 (3), mobilenetv2 62.5 (20)
    lora compressed: deit_tiny 74.9 (3), mobilenetv2 62.7 (20)
    prompt exact: deit_tiny 54.4 (3), mobilenetv2 58.6 (3)
    prompt compressed: deit_tiny 54.4 (3), mobilenetv2 58.9 (3)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from s2a_core.errors import BadAdapter

COMBINABLE = ("head", "bias", "norm", "prompt", "side")
FULL = "full"
ALONE = ("lora", FULL)
KINDS = (*COMBINABLE, *ALONE)
AUTO = "auto"
SIDE_DETACHED, LORA_LITE = "side-detached", "lora-lite"
# Where a plan begins instead of `auto`, and `auto` where no other adapter will do.
AUTO_OR_FULL, AUTO_ALONE = "auto-or-full", "auto-alone"
# Words for a kind done in another way, and the fields that say so.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    SIDE_DETACHED: ("side", {"detach": True}),
    LORA_LITE: ("lora", {"lite": True, "rank": 2}),
    AUTO_OR_FULL: (AUTO, {"or_full": True}),
    AUTO_ALONE: (AUTO, {}),
}


@dataclass(frozen=True)
class AdapterSpec:
    """Adapters to train; the classifier is always trained as well.

    kinds: any of head, bias, norm, prompt, side together, or lora or full alone, or ("auto",) for what suits the model.
    rank: of lora and prompt; reduction: channels of the backbone per channel of a side branch; detach: a side branch
    without backward through the backbone; lite: lora on the layers that widen and no others; or_full: auto is full on
    the networks that full trains better. Raises BadAdapter.
    """

    kinds: tuple[str, ...] = (AUTO,)
    rank: int = 8
    reduction: int = 8
    detach: bool = False
    lite: bool = False
    or_full: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in (*KINDS, AUTO)]
        if unknown or not self.kinds:
            raise BadAdapter(
                f"no adapter is called {', '.join(map(repr, unknown)) or 'nothing'}; "
                f"there are {', '.join(KINDS)}, several joined by commas, or auto",
                details={"adapter": ",".join(self.kinds), "allowed": [*KINDS, AUTO]},
            )
        alone = [kind for kind in self.kinds if kind in (*ALONE, AUTO)]
        if alone and len(set(self.kinds)) > 1:
            raise BadAdapter(
                f"{alone[0]} cannot be combined: use it alone, or combine {', '.join(COMBINABLE)}",
                details={"adapter": ",".join(self.kinds), "allowed": list(COMBINABLE)},
            )
        if self.rank < 1 or self.reduction < 1:
            raise BadAdapter(f"rank and reduction must be at least 1, not {self.rank} and {self.reduction}")

    @classmethod
    def parse(cls, text: str) -> AdapterSpec:
        """From `bias,prompt` or `bias+prompt`, in any order; a word of VARIANTS is its kind with its fields."""
        words = {word.strip().lower() for word in text.replace("+", ",").split(",") if word.strip()}
        fields: dict[str, Any] = {}
        for word in words & set(VARIANTS):
            fields |= VARIANTS[word][1]
        words = {VARIANTS[word][0] if word in VARIANTS else word for word in words}
        order = (*KINDS, AUTO)
        kinds = sorted(words, key=lambda word: order.index(word) if word in order else len(order))
        return cls(tuple(kinds), **fields)

    @classmethod
    def from_json(cls, document: Any) -> AdapterSpec:
        """From what to_json made, without fields that this version lacks, or from words as for parse."""
        if isinstance(document, str):
            return cls.parse(document)
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in dict(document).items()
            if name in cls.__dataclass_fields__
        }
        return cls(**fields)

    @property
    def is_auto(self) -> bool:
        """Whether the model decides."""
        return self.kinds == (AUTO,)

    def __str__(self) -> str:
        variants = {"side": SIDE_DETACHED} if self.detach else {}
        variants |= {"lora": LORA_LITE} if self.lite else {}
        variants |= {AUTO: AUTO_OR_FULL} if self.or_full else {}
        return ",".join(variants.get(kind, kind) for kind in self.kinds)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**asdict(self), "kinds": list(self.kinds)}


def adapter_words(document: Any) -> str:
    """`bias+prompt` for people, from the adapter of a plan or a report; nothing where there is none."""
    if not document:
        return ""
    try:
        return str(AdapterSpec.from_json(document)).replace(",", "+")
    except BadAdapter:
        return str(document)
