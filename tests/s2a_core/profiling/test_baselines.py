"""Other ways of training, measured on copies."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression.frozen import narrow_weights
from s2a_core.profiling import baselines, profile
from s2a_core.profiling.baselines import measure_baselines
from s2a_core.profiling.runs import run_step
from s2a_core.storage import WEIGHT_FORMATS, StoragePolicy


def test_a_model_without_linears_has_no_lora() -> None:
    model = timm.create_model("resnet18", num_classes=4)
    flags = [p.requires_grad for p in model.parameters()]
    found = {b.name: b for b in measure_baselines(model, torch.randn(4, 3, 64, 64), torch.zeros(4).long(), "fp32")}
    assert "lora" not in found
    assert found["full"].fixed_bytes > found["bias"].fixed_bytes
    assert [p.requires_grad for p in model.parameters()] == flags


def test_lora_of_the_model_is_no_part_of_the_baselines() -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, depth=2)
    x, y = torch.randn(4, 3, 32, 32), torch.zeros(4).long()
    expected = measure_baselines(model, x, y, "fp32")
    assert measure_baselines(add_adapters(model, AdapterSpec.parse("lora-lite"), 32), x, y, "fp32") == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_profiling_does_to_the_weights_changes_no_baseline(precision: str) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, depth=2)
    x, y = torch.randn(4, 3, 32, 32), torch.zeros(4).long()
    add_adapters(model, AdapterSpec.parse("lora-lite"), 32)
    expected = measure_baselines(model, x, y, precision)
    measured = profile(model, 32, 4, precision, (x, y), sensitivity_s=0.0)  # narrows the frozen weights
    assert [cost.name for cost in measured.baselines] == ["full", "lora", "bias", "bias + checkpointing"]
    assert measured.baselines == expected


def test_a_baseline_is_predicted_at_batches_where_another_moment_is_the_worst() -> None:
    """Full fine-tuning of a small batch is largest when all gradients are there, of a large one at the loss."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, depth=2)
    x, y = torch.randn(16, 3, 32, 32), torch.zeros(16).long()
    full = next(b for b in measure_baselines(model, x[:4], y[:4], "fp32") if b.name == "full")
    trained = sum(p.numel() for p in model.parameters())
    measured = run_step(model.requires_grad_(True).train(), x, y, StoragePolicy(), "fp32", True).peak_bytes
    assert full.at(16) == pytest.approx(measured + 12 * trained + x.numel() * 4, rel=0.05)
    assert full.others


def test_what_cannot_be_compared_with_is_left_out_and_said(
    vit: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(model: nn.Module, sample: torch.Tensor) -> nn.Module:
        raise ValueError("LoRA for grouped convolutions")

    monkeypatch.setitem(baselines._BUILDERS, "lora", broken)
    x, y = torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.long)
    names = [cost.name for cost in baselines.measure_baselines(vit, x, y, "fp32")]
    assert "full" in names
    assert "lora" not in names
    assert "lora is not compared with: ValueError: LoRA for grouped convolutions" in caplog.text


def test_what_stock_would_need_does_not_depend_on_how_a_plan_keeps_its_weights() -> None:
    x, y = torch.randn(2, 3, 96, 96), torch.zeros(2).long()
    found = []
    for weight_format in WEIGHT_FORMATS:
        model = timm.create_model("test_vit", num_classes=4, img_size=96)
        add_adapters(model, AdapterSpec.parse("bias"), 96)
        narrow_weights(model, weight_format)
        found.append(profile(model, 96, 2, "bf16", (x, y), sensitivity_s=0.0).baselines)
    assert [cost.name for cost in found[0]] == ["full", "lora", "bias", "bias + checkpointing"]
    assert all(costs == found[0] for costs in found)
