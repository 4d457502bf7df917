"""Frozen weights in bf16: halved once, trainable ones untouched."""

from __future__ import annotations

import pytest
import torch

from s2a_core.compression import prepare_frozen_weights
from s2a_core.errors import InvalidInput
from tests.s2a_core.compression.models import small_vit


def test_frozen_weights_are_halved_once() -> None:
    model = small_vit(1)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert prepare_frozen_weights(model, "bf16") == 2 * frozen
    assert prepare_frozen_weights(model, "bf16") == 0
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


def test_an_unknown_width_is_refused() -> None:
    with pytest.raises(InvalidInput, match="keep"):
        prepare_frozen_weights(small_vit(1), "fp4")  # type: ignore[arg-type]
