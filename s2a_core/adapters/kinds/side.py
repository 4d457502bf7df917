"""side: a lite residual branch on pooled channels beside every repeated block (after TinyTL, arXiv 2007.11622)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.adapters.kind import Kind, Options, Rates
from s2a_core.hooks import pure

if TYPE_CHECKING:
    from torch import nn

    from s2a_core.adapters.backbone import Backbone

MODULE = "s2a_side"
NO_MERGE = "side branches run beside the blocks, where the plain model has no weight"


def attach(backbone: Backbone, options: Options) -> None:
    """Parameters and bytes held: see SideResidual."""
    from s2a_core.adapters.side import SideResidual

    for place in backbone.required_places("side"):
        branch = SideResidual(place.in_shape, place.out_shape, place.channels_first, options.reduction)
        backbone.add(place.block, MODULE, branch)
        place.block.register_forward_hook(add_branch)


@pure
def add_branch(block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Forward hook: the block's output plus what its branch makes of the block's input."""
    return getattr(block, MODULE)(args[0], output)


KIND = Kind("side", "side branches", Rates(tokens=3e-3, maps=3e-3), attach, no_merge=NO_MERGE)
