"""Fingerprints change with what a profile depends on."""

from __future__ import annotations

import torch
from torch import nn

from s2a_core.profiling.fingerprint import fingerprint


def test_a_fingerprint_changes_with_weights_and_settings(vit: nn.Module) -> None:
    first = fingerprint(vit, "m", "bias", 32, "fp32", "cpu")
    assert fingerprint(vit, "m", "bias", 32, "fp32", "cpu") == first
    assert fingerprint(vit, "m", "bias", 64, "fp32", "cpu") != first
    assert fingerprint(vit, "m", "bias", 32, "bf16", "cpu") != first
    with torch.no_grad():
        next(vit.parameters()).add_(1.0)
    assert fingerprint(vit, "m", "bias", 32, "fp32", "cpu") != first
