"""prompt: a low-rank prompt added to the input of every repeated block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.adapters.kind import Kind, Options, Rates
from s2a_core.hooks import pure

if TYPE_CHECKING:
    from torch import nn

    from s2a_core.adapters.backbone import Backbone

MODULE = "s2a_prompt"


def attach(backbone: Backbone, options: Options) -> None:
    """(positions + channels) * rank parameters a block, 0 bytes held; see LowRankPrompt."""
    from s2a_core.adapters.prompt import LowRankPrompt

    for place in backbone.required_places("prompt"):
        prompt = LowRankPrompt(place.in_shape, place.channels_first, options.rank)
        backbone.add(place.block, MODULE, prompt)
        place.block.register_forward_pre_hook(add_prompt)


@pure
def add_prompt(block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook: the block sees its input with the prompt added."""
    return (getattr(block, MODULE)(args[0]), *args[1:])


KIND = Kind(
    "prompt", "low-rank prompts", Rates(tokens=3e-3, maps=5e-3), attach,
    no_merge="prompts are added to the tokens between blocks, where the plain model has no weight",
)  # fmt: skip
