"""bias: every bias of the model (BitFit, Ben Zaken et al. 2022, arXiv 2106.10199)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2a_core.adapters.kind import Kind, Options, Rates, merges_in_place

if TYPE_CHECKING:
    from s2a_core.adapters.backbone import Backbone


def attach(backbone: Backbone, options: Options) -> None:
    """One parameter per output channel, 0 bytes held: a bias's gradient needs no activation."""
    for name, parameter in backbone.model.named_parameters():
        if name.rsplit(".", 1)[-1].endswith("bias"):
            parameter.requires_grad_(True)


KIND = Kind("bias", "biases", Rates(tokens=3e-3, maps=3e-3), attach, merge=merges_in_place, fallback=1)
