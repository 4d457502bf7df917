"""full: every parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2a_core.adapters.kind import Kind, Options, Rates, merges_in_place

if TYPE_CHECKING:
    from s2a_core.adapters.backbone import Backbone


def attach(backbone: Backbone, options: Options) -> None:
    """All parameters; holds what full fine-tuning holds."""
    backbone.model.requires_grad_(True)


KIND = Kind(
    "full", "everything (full fine-tuning)", Rates(tokens=2e-4, maps=3e-4), attach, merge=merges_in_place,
    is_combinable=False,
)  # fmt: skip
