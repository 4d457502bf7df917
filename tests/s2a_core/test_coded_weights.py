"""Models whose frozen weights are int8 or nf4 codes: the same gradients as with the decoded ones, whole runs, peaks."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from s2a_core import pipeline
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.kinds import KINDS
from s2a_core.compression import compress, discover, narrow_weights, prepare_frozen_weights
from s2a_core.compression.discover import uniform_policy
from s2a_core.compression.frozen import weight_format_of, widen_weights
from s2a_core.inference import load_run
from s2a_core.inference.export import export_run
from s2a_core.inference.predict import logits
from s2a_core.meter import PeakMeter
from s2a_core.models import load_model
from s2a_core.operators.narrow import NarrowWeight
from s2a_core.pipeline import RunRequest
from s2a_core.planning import plan
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.prepare import prepare
from s2a_core.profiling import profile
from s2a_core.storage import StoragePolicy, WeightFormat
from s2a_core.verify import verify
from tests.assertions import assert_close
from tests.s2a_core.compression.models import gradients, small_cnn, small_vit
from tests.s2a_core.runs import few_digits, hand_plan, pause_in_the_second_step

FORMATS = pytest.mark.parametrize("weight_format", ["int8", "nf4"])


def pair(model: nn.Module, weight_format: WeightFormat) -> tuple[nn.Module, nn.Module]:
    """The model with coded weights, and with the same values as plain numbers."""
    assert narrow_weights(model, weight_format) > 0
    return model, widen_weights(copy.deepcopy(model))


@pytest.mark.parametrize("adapter", [name for name in KINDS if name != "full"])
def test_every_adapter_has_the_gradient_of_the_decoded_weights(adapter: str) -> None:
    model = add_adapters(small_vit(), AdapterSpec.parse(adapter), 64)
    coded, plain = pair(model, "nf4")
    x = torch.randn(2, 3, 64, 64)
    sites = discover(coded, x)
    for policy in (StoragePolicy(), uniform_policy(sites, 8), uniform_policy(sites, 8, recompute=True)):
        found = []
        for one in (coded, plain):
            torch.manual_seed(0)
            with compress(one, policy):
                output = one(x)
            found.append(gradients(one, output))
        assert_close(found[0], found[1], rel=1e-5, what=adapter)


@FORMATS
def test_a_cnn_has_the_gradient_of_the_decoded_weights(weight_format: WeightFormat) -> None:
    coded, plain = pair(small_cnn(), weight_format)
    x = torch.randn(2, 3, 64, 64)
    with compress(coded, uniform_policy(discover(coded, x), 4)), compress(plain, uniform_policy(discover(plain, x), 4)):
        outputs = coded(x), plain(x)
    assert_close(gradients(coded, outputs[0]), gradients(plain, outputs[1]), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [("swin_tiny_patch4_window7_224", 56, {"embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4)}),
     ("convnext_atto", 64, {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 64)})],
)  # fmt: skip
def test_lora_on_other_models_has_the_gradient_of_the_decoded_weights(
    name: str, size: int, options: dict[str, Any]
) -> None:
    """Windows with tables of relative positions; channels-last maps and 1 x 1 products."""
    torch.manual_seed(0)
    model = add_adapters(load_model(name, "none", 5, size, **options), AdapterSpec.parse("lora"), size)
    coded, plain = pair(model, "nf4")
    x, results = torch.randn(2, 3, size, size), []
    for one in (coded, plain):
        torch.manual_seed(0)
        with compress(one, uniform_policy(discover(one, x), 8, recompute=True)):
            output = one(x)
        results.append(gradients(one, output))
    assert_close(results[0], results[1], rel=1e-5)


def test_under_autocast_weights_stand_in_bf16() -> None:
    coded = small_vit()
    prepare_frozen_weights(coded, "bf16", "int8")
    assert {p.dtype for p in coded.parameters() if isinstance(p, NarrowWeight)} == {torch.bfloat16}
    assert prepare_frozen_weights(coded, "bf16", "int8") == 0
    plain = widen_weights(copy.deepcopy(coded))
    x = torch.randn(2, 3, 64, 64)
    policy = uniform_policy(discover(coded, x, "bf16"), 8, recompute=True, frozen_weights="bf16")
    found = []
    for one in (coded, plain):
        with torch.autocast("cpu", torch.bfloat16), compress(one, policy):
            output = one(x)
        found.append(gradients(one, output))
    assert_close(found[0], found[1], rel=1e-5)


def test_trained_small_and_shared_weights() -> None:
    model = small_vit()
    model.blocks[0].attn.qkv.weight.requires_grad_(True)  # type: ignore[union-attr]
    model.blocks[1].mlp.fc1.weight = model.blocks[0].mlp.fc1.weight  # type: ignore[union-attr]
    narrow_weights(model, "int8")
    coded = {name for name, p in model.named_parameters(remove_duplicate=False) if isinstance(p, NarrowWeight)}
    assert "blocks.0.attn.qkv.weight" not in coded  # trained
    assert "head.weight" not in coded  # 5 x 48
    assert {"blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.weight", "patch_embed.proj.weight"} <= coded
    assert model.blocks[1].mlp.fc1.weight is model.blocks[0].mlp.fc1.weight  # type: ignore[union-attr]
    assert weight_format_of(model) == "int8"


@FORMATS
def test_no_decoded_layer_outlives_its_product(weight_format: WeightFormat) -> None:
    model = nn.Sequential(*(nn.Linear(512, 512) for _ in range(8)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    narrow_weights(model, weight_format)
    x = torch.randn(1, 512)
    model(x).sum().backward()
    with PeakMeter() as meter:
        model(x).sum().backward()
    one_layer = 4 * 512 * 512
    assert one_layer <= meter.peak_bytes < 1.8 * one_layer  # the reference decodes by way of one chunk


def coded_request(folder: Path, weight_format: WeightFormat, adapter: str = "bias") -> RunRequest:
    """A request of six steps with the plan for it, everything exact."""
    request = RunRequest(
        "s2a_tiny", "digits", output=folder, adapter=adapter, epochs=2, weight_format=weight_format, device="cpu"
    )
    made = replace(hand_plan(adapter), weight_format=weight_format, fingerprint=prepare(request).fingerprint)
    return replace(request, plan=made)


@FORMATS
def test_a_run_goes_on_to_the_bit_and_is_predicted_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight_format: WeightFormat
) -> None:
    monkeypatch.setattr("s2a_core.prepare.open_dataset", lambda *args, **options: few_digits())
    request = coded_request(tmp_path / "whole", weight_format, "lora")
    whole = pipeline.run(request)
    assert (whole["weight_format"], whole["within_budget"]) == (weight_format, True)
    cut = replace(request, output=tmp_path / "cut")
    pause_in_the_second_step(cut)
    resumed = pipeline.run(replace(cut, plan=None, weight_format="auto", resume=True))
    assert resumed["step_losses"] == whole["step_losses"]
    assert resumed["weight_format"] == weight_format

    run = load_run(tmp_path / "whole")
    trained = prepare(request).model
    trained.load_state_dict({n: t for n, t in run.model.state_dict().items() if "lora" in n or "head" in n}, False)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert_close(logits(run, x), trained.eval()(x), rel=1e-5)
    exported = export_run(run, tmp_path / "model.safetensors")  # compares its own logits
    assert exported["largest_difference"] < 1e-4


def test_a_run_from_random_weights_keeps_the_values_it_was_trained_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2a_core.prepare.open_dataset", lambda *args, **options: few_digits())
    request = replace(coded_request(tmp_path / "run", "nf4"), weights="none", plan=None)
    made = replace(hand_plan(), weight_format="nf4", fingerprint=prepare(request).fingerprint)
    pipeline.run(replace(request, plan=made))
    beside, loaded = prepare(request).model, load_run(tmp_path / "run").model
    coded = {name: p for name, p in beside.named_parameters() if isinstance(p, NarrowWeight)}
    assert coded
    for name, parameter in coded.items():
        assert torch.equal(loaded.get_parameter(name), parameter.decoded())


@FORMATS
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_promised_is_measured(weight_format: WeightFormat, precision: str) -> None:
    """Never more than promised once it ran, and the prediction before that within 3 %."""
    model = add_adapters(load_model("s2a_tiny", "none", 10), AdapterSpec.parse("lora-lite"))
    narrow_weights(model, weight_format)
    found = profile(model, 32, 4, precision, sensitivity_s=0.0, refine_s=0.0, has_baselines=False)
    assert found.weight_format == weight_format
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    for share in (0.0, 0.5):
        least = smallest_budget(found, 8)
        made = plan(found, int(least * (1 + share)), 8)
        assert made.weight_format == weight_format
        alive = sum(p.untyped_storage().nbytes() for p in model.parameters())
        assert made.predicted.breakdown["weights"] == pytest.approx(alive, rel=0.01)
        verified = verify(model, made, images, labels, Replanner(found))
        assert verified.measured_peak_bytes <= verified.plan.predicted.peak_bytes <= made.budget_bytes
        assert verified.measured_peak_bytes == pytest.approx(made.predicted.peak_bytes, rel=0.03)


def test_codes_make_room_that_numbers_do_not_have() -> None:
    spec = AdapterSpec.parse("bias")
    budgets = {}
    for weight_format in ("float", "int8", "nf4"):
        model = add_adapters(load_model("vit_tiny_patch16_224", "none", 10, 32), spec, 32)
        narrow_weights(model, weight_format)
        found = profile(model, 32, 2, "fp32", sensitivity_s=0.0, refine_s=0.0, has_baselines=False)
        budgets[weight_format] = smallest_budget(found, 4)
    assert budgets["int8"] < 0.5 * budgets["float"]
    assert budgets["nf4"] < 0.8 * budgets["int8"]
