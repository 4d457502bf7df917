"""What coding each weight costs, measured on the coded model itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from s2a_core.compression import narrow_weights
from s2a_core.profiling.runs import relative_error
from s2a_core.profiling.weights import coded_weights, weight_errors, weight_profiles


class Layers(nn.Module):
    """Six layers that train their biases. The weights of `late` have outliers, so that codes are coarse."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.early, self.late = (nn.ModuleList(nn.Linear(96, 96) for _ in range(3)) for _ in range(2))
        for layer in self.late:
            layer.weight.data *= (100 * layer.weight.data).square()
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.early, *self.late):
            x = torch.tanh(layer(x))
        return x


def gradient_of(model: nn.Module) -> Tensor:
    model.zero_grad(set_to_none=True)
    model(torch.linspace(-1, 1, 8 * 96).view(8, 96).sin()).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_errors_are_those_of_the_codes_and_the_model_stays_as_it_was(seconds: float) -> None:
    model = Layers()
    plain, exact = copy.deepcopy(model), gradient_of(model)
    narrow_weights(model, "int8")
    payloads = {name: weight.payload.clone() for name, weight in coded_weights(model).items()}
    errors = weight_errors(model, lambda: gradient_of(model), seconds)
    assert set(errors) == set(payloads)
    assert all(torch.equal(weight.payload, payloads[name]) for name, weight in coded_weights(model).items())
    for layers in ("early", "late"):
        alone = copy.deepcopy(plain)
        narrow_weights(getattr(alone, layers), "int8")
        true = relative_error(gradient_of(alone), exact)
        measured = sum(error**2 for name, error in errors.items() if name.startswith(layers)) ** 0.5
        assert 0.5 < measured / true < 2
    if not seconds:  # alike weights together
        assert len({error for name, error in errors.items() if name.startswith("late")}) == 1


def test_a_weight_takes_its_numbers_less_its_codes_beyond_them() -> None:
    model = Layers()
    narrow_weights(model, "nf4")
    coded = 96 * 96 * 4.25 / 8
    for precision, width in (("fp32", 4), ("bf16", 2)):
        profiles = weight_profiles(model, precision, {})
        assert [one.name for one in profiles] == list(coded_weights(model))
        assert all(0 <= width * 96 * 96 - coded - one.wide_bytes <= 128 for one in profiles)
        assert sum(one.gradient_error**2 for one in profiles) ** 0.5 == pytest.approx(0.5)


def test_numbers_among_codes_are_none_of_them() -> None:
    model = Layers()
    narrow_weights(model, "int8", ["early.0.weight"])
    errors = weight_errors(model, lambda: gradient_of(model), 100.0)
    assert "early.0.weight" not in errors
    assert [one.name for one in weight_profiles(model, "fp32", errors)] == list(errors)


def test_a_model_without_codes_has_none() -> None:
    assert weight_errors(Layers(), lambda: torch.zeros(1), 1.0) == {}
    assert weight_profiles(Layers(), "fp32", {}) == ()
