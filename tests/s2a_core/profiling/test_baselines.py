"""Other ways of training, measured on copies."""

from __future__ import annotations

import timm
import torch

from s2a_core.profiling.baselines import measure_baselines


def test_a_model_without_linears_has_no_lora() -> None:
    model = timm.create_model("resnet18", num_classes=4)
    flags = [p.requires_grad for p in model.parameters()]
    found = {b.name: b for b in measure_baselines(model, torch.randn(4, 3, 64, 64), torch.zeros(4).long(), "fp32")}
    assert "lora" not in found
    assert found["full"].fixed_bytes > found["bias"].fixed_bytes
    assert [p.requires_grad for p in model.parameters()] == flags
