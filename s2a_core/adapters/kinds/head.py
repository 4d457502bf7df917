"""head: the classifier alone, a linear probe. It is trained beside every other kind as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2a_core.adapters.kind import Kind, Options, merges_in_place

if TYPE_CHECKING:
    from s2a_core.adapters.backbone import Backbone


def attach(backbone: Backbone, options: Options) -> None:
    """Nothing beside the classifier: 0 parameters, 0 bytes held."""


KIND = Kind("head", "the classifier only (linear probe)", rates=None, attach=attach, merge=merges_in_place, fallback=2)
