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
    ssf exact: deit_tiny 66.5 (3)
    ssf compressed: deit_tiny 65.9 (3)
    adaptformer exact: deit_tiny 61.4 (3)
    adaptformer compressed: deit_tiny 61.0 (3)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from s2a_core.adapters.kind import Kind
from s2a_core.adapters.kinds import KINDS
from s2a_core.errors import BadAdapter

FULL = "full"
AUTO = "auto"
# Where a plan begins instead of `auto`, and `auto` where no other adapter will do.
AUTO_OR_FULL, AUTO_ALONE = "auto-or-full", "auto-alone"
AUTOS = (AUTO, AUTO_OR_FULL)
COMBINABLE = tuple(kind.name for kind in KINDS.values() if kind.is_combinable)
ALONE = tuple(kind.name for kind in KINDS.values() if not kind.is_combinable)
# What planning tries after `auto`: fewer bytes held, at less accuracy.
FALLBACKS = tuple(
    kind.name for kind in sorted(KINDS.values(), key=lambda kind: kind.fallback or 0) if kind.fallback is not None
)
HELP = f"{AUTO}, {', '.join(ALONE)}, or any of {', '.join(COMBINABLE)} joined by commas."
# Fields of older documents that are kinds of their own: (kind, field) -> kind.
_FIELDS_OF_OLD = {("lora", "lite"): "lora-lite", ("side", "detach"): "side-detached", (AUTO, "or_full"): AUTO_OR_FULL}


@dataclass(frozen=True)
class AdapterSpec:
    """Adapters to train; the classifier is always trained as well.

    kinds: names of s2a_core.adapters.kinds, several that combine or one that does not, or ("auto",) for what suits the
    model, or ("auto-or-full",) for that and full on the networks that full trains better. rank: of what has one, None
    for each kind's own; reduction: channels of the backbone per channel of a side branch. Raises BadAdapter.
    """

    kinds: tuple[str, ...] = (AUTO,)
    rank: int | None = None
    reduction: int = 8

    def __post_init__(self) -> None:
        unknown = [name for name in self.kinds if name not in (*KINDS, *AUTOS)]
        if unknown or not self.kinds:
            raise BadAdapter(
                f"no adapter is called {', '.join(map(repr, unknown)) or 'nothing'}; "
                f"there are {', '.join(KINDS)}, several joined by commas, or auto",
                details={"adapter": ",".join(self.kinds), "allowed": [*KINDS, AUTO]},
            )
        alone = [name for name in self.kinds if name in (*ALONE, *AUTOS)]
        if alone and len(set(self.kinds)) > 1:
            raise BadAdapter(
                f"{alone[0]} cannot be combined: use it alone, or combine {', '.join(COMBINABLE)}",
                details={"adapter": ",".join(self.kinds), "allowed": list(COMBINABLE)},
            )
        if (self.rank is not None and self.rank < 1) or self.reduction < 1:
            raise BadAdapter(f"rank and reduction must be at least 1, not {self.rank} and {self.reduction}")

    @classmethod
    def parse(cls, text: str) -> AdapterSpec:
        """From `bias,prompt` or `bias+prompt`, in any order."""
        words = {word.strip().lower() for word in text.replace("+", ",").split(",") if word.strip()}
        order = (*KINDS, *AUTOS)
        names = sorted(words, key=lambda word: (order.index(word) if word in order else len(order), word))
        return cls(tuple(AUTO if name == AUTO_ALONE else name for name in names))

    @classmethod
    def from_json(cls, document: Any) -> AdapterSpec:
        """From what to_json made, of this version or an older one, or from words as for parse."""
        if isinstance(document, str):
            return cls.parse(document)
        renamed = {kind: name for (kind, field), name in _FIELDS_OF_OLD.items() if document.get(field)}
        fields = {name: value for name, value in document.items() if name in cls.__dataclass_fields__}
        return cls(**{**fields, "kinds": tuple(renamed.get(kind, kind) for kind in fields.get("kinds", (AUTO,)))})

    @property
    def is_auto(self) -> bool:
        """Whether the model decides."""
        return self.kinds[0] in AUTOS

    @property
    def declarations(self) -> tuple[Kind, ...]:
        """The kinds. Raises BadAdapter for `auto`, which is none before it has seen a model."""
        if self.is_auto:
            raise BadAdapter(f"{self} stands for other adapters, which s2a_core.adapters.resolve chooses for a model")
        return tuple(KINDS[name] for name in self.kinds)

    def rank_of(self, name: str) -> int:
        """The rank asked for, or the kind's own."""
        return self.rank or KINDS[name].rank

    @property
    def merge_refusals(self) -> tuple[str, ...]:
        """Why the trained model is no plain one, by kind; empty where everything folds into the model's weights."""
        return tuple(f"{kind.name}: {kind.no_merge}" for kind in self.declarations if kind.no_merge)

    def __str__(self) -> str:
        return ",".join(self.kinds)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**asdict(self), "kinds": list(self.kinds)}


def choices() -> dict[str, str]:
    """What a form offers: `--adapter` text and what it trains, for each kind and for combinations that are usual."""
    combined = [("bias", "prompt"), ("bias", "prompt", "side")]
    offered = {AUTO: "let the planner choose"} | {name: kind.label for name, kind in KINDS.items()}
    return offered | {",".join(names): " + ".join(KINDS[name].label for name in names) for names in combined}


def adapter_words(document: Any) -> str:
    """`bias+prompt` for people, from the adapter of a plan or a report; nothing where there is none."""
    if not document:
        return ""
    try:
        return str(AdapterSpec.from_json(document)).replace(",", "+")
    except BadAdapter:
        return str(document)


def merge_refusals(document: Any) -> tuple[str, ...]:
    """AdapterSpec.merge_refusals of a report's adapter; empty where it has none, or one of another version."""
    try:
        return AdapterSpec.from_json(document).merge_refusals if document else ()
    except BadAdapter:
        return ()
