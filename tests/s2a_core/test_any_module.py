"""Models of other libraries, with their own inputs and losses: adapted, profiled, planned, compressed and verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

from s2a_core import AdapterSpec, Plan, add_adapters, compress, plan, profile
from s2a_core.adapters.kinds import KINDS
from s2a_core.batches import Samples, repeated, samples_of, samples_of_pair
from s2a_core.errors import InvalidInput
from s2a_core.planning.replan import Replanner
from s2a_core.verify import verify

SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96, "num_labels": 5}
Case = tuple[nn.Module, Any, Any, Callable[[Any, Any], Tensor]]


def _vit() -> Case:
    model = ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **SMALL))
    return model, {"pixel_values": torch.randn(4, 3, 32, 32)}, torch.randint(5, (4,)), _of_logits


def _bert() -> Case:
    model = BertForSequenceClassification(BertConfig(vocab_size=50, max_position_embeddings=16, **SMALL))
    tokens, masks = torch.randint(50, (4, 12)), torch.ones(4, 12, dtype=torch.long)
    return model, {"input_ids": tokens, "attention_mask": masks}, torch.randint(5, (4,)), _of_logits


def _regression() -> Case:
    block = [nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16), nn.LayerNorm(16)]
    model = nn.Sequential(*block, nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 1))
    return model, torch.randn(4, 10, 16), torch.randn(4, 10, 1), functional.mse_loss


def _resnet() -> Case:
    model = torchvision.models.resnet18(num_classes=5)
    return model, torch.randn(4, 3, 48, 48), torch.randint(5, (4,)), functional.cross_entropy


def _of_logits(output: Any, labels: Tensor) -> Tensor:
    return functional.cross_entropy(output.logits, labels)


CASES = {"vit": _vit, "bert": _bert, "regression": _regression, "resnet": _resnet}


def _made(name: str, kind: str) -> Case:
    torch.manual_seed(0)
    model, inputs, targets, loss = CASES[name]()
    return add_adapters(model, AdapterSpec((kind,)), example=inputs), inputs, targets, loss


def _called(model: nn.Module, inputs: Any) -> Any:
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "side-detached"])
@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_every_adapter_starts_equal_on_models_of_other_libraries(name: str, kind: str) -> None:
    torch.manual_seed(0)
    model, inputs, targets, loss = CASES[name]()
    before = loss(_called(model.eval(), inputs), targets)
    adapted = add_adapters(model, AdapterSpec((kind,)), example=inputs).eval()
    after = loss(_called(adapted, inputs), targets)
    assert after.item() == pytest.approx(before.item(), rel=1e-5)
    after.backward()
    assert [n for n, p in adapted.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize(
    ("name", "kind"), [(name, "bias") for name in CASES] + [("vit", "ssf"), ("bert", "adaptformer")]
)
def test_compressed_gradients_follow_exact_ones_and_a_verified_plan_stays_inside(name: str, kind: str) -> None:
    model, inputs, targets, loss = _made(name, kind)
    found = profile(
        model, example=(inputs, targets), loss=loss, adapter=kind, has_baselines=False, sensitivity_s=0, refine_s=0
    )
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]

    def gradient(output: Any) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss(output, targets), trained)])

    exact = gradient(_called(model, inputs))
    with compress(model, Plan.uniform(found, 8, 4, recompute=True)):
        coded = _called(model, inputs)
    assert functional.cosine_similarity(gradient(coded), exact, dim=0) >= 0.999
    made = plan(found, budget_bytes=2**30, batch_size=8)
    checked = verify(model, made, *samples_of_pair((inputs, targets), loss), Replanner(found))
    assert 0 < checked.measured_peak_bytes <= 2**30


def test_samples_are_split_repeated_and_passed_whole() -> None:
    value = {
        "x": torch.arange(3),
        "names": ["a", "b", "c"],
        "pair": (torch.zeros(3, 2), None),
        "scale": torch.tensor(2.0),
    }
    samples = samples_of(value)
    assert len(samples) == 3
    part = samples[:2].value
    assert part["x"].tolist() == [0, 1]
    assert part["names"] == ["a", "b"]
    assert (part["pair"][0].shape, part["pair"][1], float(part["scale"])) == ((2, 2), None, 2.0)
    five = repeated(samples, 5)
    assert (len(five), five.value["x"].tolist(), five.value["names"][3:]) == (5, [0, 1, 2, 0, 1], ["a", "b"])


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (
            {"x": torch.zeros(4, 2), "y": torch.zeros(3, 2)},
            r"sample dimension .* unclear: y has 3 entries .* 4 samples",
        ),
        (torch.tensor(1.0), "has no samples"),
        ({}, "has no samples"),
    ],
)
def test_an_example_whose_samples_are_unclear_is_refused(inputs: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        profile(_regression()[0], example=(inputs, None), loss=lambda output, targets: output.mean())


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (
            lambda output, targets: (output - targets) ** 2,
            r"must be one number, the mean over samples, not \[2, 10, 1\]",
        ),
        (lambda output, targets: 1.0, "not float"),
        (lambda output, targets: output.mean() * float("nan"), "the loss of the example is nan"),
    ],
)
def test_a_loss_that_is_no_finite_number_is_refused(loss: Callable[[Any, Any], Tensor], reason: str) -> None:
    model, inputs, targets, _ = _made("regression", "bias")
    with pytest.raises(InvalidInput, match=reason):
        profile(model, example=(inputs, targets), loss=loss)


def test_a_loss_needs_its_example() -> None:
    model = _made("regression", "bias")[0]
    with pytest.raises(InvalidInput, match="a loss needs an example"):
        profile(model, loss=functional.mse_loss)
    with pytest.raises(InvalidInput, match="must be a pair"):
        profile(model, example=torch.zeros(2, 16), loss=functional.mse_loss)  # type: ignore[arg-type]
    assert isinstance(samples_of_pair((torch.zeros(2, 16), None), functional.mse_loss)[1], Samples)
