"""Rates, schedule, decay and the average of the weights."""

import math

import pytest
import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.errors import BadAdapter, InternalError
from s2a_core.models import load_model
from s2a_core.train.recipe import (
    WeightAverage,
    enough_epochs,
    learning_rates,
    make_optimizer,
    schedule,
)


def test_adapters_together_take_the_smallest_rate_and_the_classifier_its_own() -> None:
    model = load_model("s2a_tiny", num_classes=10)
    full, head = learning_rates(model, "full")
    assert full < learning_rates(model, "bias,prompt")[0]
    assert learning_rates(model, "bias", lr=0.5) == (0.5, head)
    assert head < learning_rates(model, "head")[0]
    assert learning_rates(model, "head", lr=0.5) == (0.5, 0.5)


def test_a_wide_classifier_has_a_smaller_rate() -> None:
    wide, narrow = timm.create_model("mobilenetv2_100", num_classes=10), load_model("s2a_tiny", num_classes=10)
    assert learning_rates(wide, "head")[0] == pytest.approx(2 / 1280)
    assert learning_rates(narrow, "head")[0] == 1e-2
    assert learning_rates(wide, "bias")[1] == pytest.approx(0.8 / 1280)


def test_light_lora_has_a_smaller_rate_on_wider_layers() -> None:
    def rate(width: int) -> float:
        model = timm.create_model("vit_tiny_patch16_224", embed_dim=width, depth=1, num_heads=4, num_classes=10)
        return learning_rates(add_adapters(model, AdapterSpec.parse("lora-lite")), "lora-lite")[0]

    assert rate(96) == rate(192) == pytest.approx(6e-3)
    assert rate(768) == pytest.approx(3e-3)


def test_biases_and_scales_do_not_decay() -> None:
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("full",)))
    for group in make_optimizer(model, "full", None, 0.05).param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_training_takes_the_optimizer_that_is_named_and_stock_adamw_unless_one_is() -> None:
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias",)))
    assert type(make_optimizer(model, "bias", None, 0.05)) is torch.optim.AdamW
    coded = make_optimizer(model, "bias", None, 0.05, "adamw8bit")
    assert type(coded).__module__.startswith("bitsandbytes")


def test_a_kind_without_a_rate_never_trains_at_the_heads() -> None:
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias",)))
    with pytest.raises(InternalError, match=r"head has no learning rate, but patch_embed\.proj\.bias and .* others"):
        make_optimizer(model, "head", None, 0.05)
    with pytest.raises(BadAdapter, match="no adapter is called 'vera'"):
        learning_rates(model, "vera")


def test_the_rate_rises_then_falls_to_zero() -> None:
    shares = [schedule(step, 20, 0.1) for step in range(20)]
    assert shares[0] == 0.5
    assert max(shares) == 1
    assert shares[2:] == sorted(shares[2:], reverse=True)
    assert schedule(20, 20, 0.1) == pytest.approx(0)


def test_an_average_follows_the_weights_and_swaps_in_and_out() -> None:
    model = nn.Linear(2, 1)
    average = WeightAverage(model, 0.5)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    average.update(model)
    average.swap(model)
    assert torch.allclose(model.weight, before + 0.5)
    other = WeightAverage(nn.Linear(2, 1), 0.5)
    average.swap(model)
    other.restore(average.state())
    assert torch.equal(other.shadow["weight"], average.shadow["weight"])
    assert other.num == 1
    assert not math.isnan(float(model.weight.detach().sum()))


@pytest.mark.parametrize(("num_train", "epochs"), [(1, 30), (320, 30), (640, 15), (1920, 5), (10**6, 5)])
def test_small_datasets_get_more_epochs(num_train: int, epochs: int) -> None:
    assert enough_epochs(num_train, 64) == epochs


def test_the_average_of_a_network_holds_the_averages_of_its_moving_statistics() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model[1].s2a_rests = False  # as s2a_core.train.mode says of one that estimates
    average, decay = WeightAverage(model, 0.5), 0.5
    expected = model[1].running_mean.clone()
    for step in range(1, 4):
        model(torch.randn(8, 3) + 5)
        average.update(model)
        expected = expected.lerp(model[1].running_mean, max(1 - decay, 1 / (step + 1)))
    last = model[1].running_mean.clone()
    with average.applied(model):
        assert torch.allclose(model[1].running_mean, expected)
        assert not torch.equal(model[1].running_mean, last)
    assert torch.equal(model[1].running_mean, last)


def test_statistics_that_rest_are_not_averaged() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert not any("running" in name for name in WeightAverage(model, 0.5).shadow)
