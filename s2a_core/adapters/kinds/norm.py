"""norm: scale and shift of every normalisation layer (LN tuning, Qi et al. 2022, arXiv 2211.08682)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2a_core.adapters.kind import Kind, Options, Rates, merges_in_place

if TYPE_CHECKING:
    from s2a_core.adapters.backbone import Backbone


def attach(backbone: Backbone, options: Options) -> None:
    """Two parameters per channel; holds x̂ of each normalisation layer."""
    for module in backbone.norms():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(True)


KIND = Kind("norm", "scales and shifts of the norms", Rates(tokens=3e-3, maps=3e-3), attach, merge=merges_in_place)
