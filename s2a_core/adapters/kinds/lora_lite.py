"""lora-lite: LoRA of rank 2 on the layers that widen (a ViT's qkv and fc1): what `auto` is on transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2a_core.adapters.kind import Kind, Options, Rates
from s2a_core.adapters.kinds.lora import merge

if TYPE_CHECKING:
    from torch import nn

    from s2a_core.adapters.backbone import Backbone

# The down-projection of LoRA moves its output by rate x inputs a step, the up-projection by the rate alone: the rate
# falls with the root of the inputs. Measured at 192.
RATE, RATE_INPUTS = 6e-3, 192


def attach(backbone: Backbone, options: Options) -> None:
    """In an attention or an MLP that is rebuilt from its norm's codes, these layers' inputs are rebuilt too."""
    from s2a_core.adapters.lora import add_lora, lora_layers

    add_lora(backbone, lora_layers(backbone, widening_only=True), options.rank)


def largest_rate(model: nn.Module) -> float:
    """By the widest layer that has LoRA."""
    widths = [p.shape[1] for name, p in model.named_parameters() if "lora_A" in name]
    return RATE * (RATE_INPUTS / max(widths, default=RATE_INPUTS)) ** 0.5


KIND = Kind(
    "lora-lite", "LoRA on the layers that widen", Rates(RATE, 4e-3, largest_rate), attach, merge=merge,
    is_combinable=False, rank=2,
)  # fmt: skip
