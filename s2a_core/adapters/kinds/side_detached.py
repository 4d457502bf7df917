"""side-detached: a ladder of branches beside the backbone, with no backward through it (after LST, 2206.06522)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.adapters.kind import Kind, Options, Rates
from s2a_core.adapters.kinds.side import NO_MERGE
from s2a_core.errors import BadAdapter

if TYPE_CHECKING:
    from torch import Tensor, nn

    from s2a_core.adapters.backbone import Backbone
    from s2a_core.adapters.side import SideLadder

MODULE = "s2a_ladder"


def attach(backbone: Backbone, options: Options) -> None:
    """Parameters and bytes held: see SideLadder."""
    from torch import nn

    from s2a_core.adapters.side import SideLadder

    places, heads = backbone.places, backbone.head_modules
    if not places or len(heads) != 1 or not isinstance(heads[0], nn.Linear):
        raise BadAdapter("a detached side branch needs repeated blocks and one linear classifier: use bias")
    shapes = [place.out_shape for place in places]
    first = [place.channels_first for place in places]
    ladder = SideLadder(shapes, first, heads[0].in_features, options.reduction)
    backbone.add(backbone.model, MODULE, ladder)
    for rung, place in enumerate(places):
        place.block.register_forward_hook(_Climb(ladder, rung))
    heads[0].register_forward_pre_hook(_Arrive(ladder))


class _Climb:
    """Forward hook of a block: the ladder reads its output."""

    def __init__(self, ladder: SideLadder, rung: int) -> None:
        self.ladder, self.rung = ladder, rung

    def __call__(self, block: nn.Module, args: Any, output: Tensor) -> None:
        self.ladder.climb(self.rung, output)


class _Arrive:
    """Forward pre-hook of the classifier: it sees its features plus what the ladder made."""

    def __init__(self, ladder: SideLadder) -> None:
        self.ladder = ladder

    def __call__(self, classifier: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.ladder.add_to(args[0]), *args[1:])


KIND = Kind(
    "side-detached", "a detached side network", Rates(tokens=3e-3, maps=5e-3), attach, no_merge=NO_MERGE,
)  # fmt: skip
