"""The head of a model is found by what its library calls it, or named, or left out."""

import pytest
import torchvision
from torch import nn

from s2a_core.adapters.head import head_modules, head_parameters
from s2a_core.errors import BadAdapter
from s2a_core.models import load_model


def test_timm_says_what_the_classifier_is() -> None:
    assert head_parameters(load_model("s2a_tiny", num_classes=7)) == {"head.weight", "head.bias"}


def test_children_of_usual_names_are_the_head() -> None:
    assert head_parameters(torchvision.models.resnet18(num_classes=3)) == {"fc.weight", "fc.bias"}


def test_else_it_is_the_last_layer_outside_the_blocks() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert head_parameters(nn.Sequential(block, nn.ReLU(), nn.Linear(4, 2))) == {"2.weight", "2.bias"}


def test_a_head_may_be_named_or_none() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    assert head_modules(model, "0") == [model[0]]
    assert head_modules(model, ("0", "1")) == [model[0], model[1]]
    assert head_modules(model, None) == []


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadAdapter, match="no module 'top' for a head; its children are 0, 1"):
        head_modules(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), "top")
