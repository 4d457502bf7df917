"""Folding adapters back into the weights, where that changes nothing: the state dict of a plain model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def merged_state_dict(model: nn.Module) -> dict[str, Tensor] | None:
    """State dict with the plain model's names and the same function; None where an adapter adds what that model lacks.

    Why it does: AdapterSpec.merge_refusals. Each kind's rule: `merge` of s2a_core.adapters.kinds.
    """
    spec: Any = getattr(model, "s2a_adapter", None)
    state = dict(model.state_dict())
    if spec is None:
        return state
    if spec.merge_refusals:
        return None
    for kind in spec.declarations:
        kind.merge(model, state)
    return state
