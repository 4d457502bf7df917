"""Which modules rest while others are trained."""

import timm
import torch
from torch import nn

from s2a_core.train.mode import resting_modules, training_mode


def test_statistics_and_paths_rest_unless_everything_is_trained_from_random_weights() -> None:
    for adapter, resting in (("bias", True), ("full", False)):
        model = timm.create_model("convnext_atto", drop_path_rate=0.1)
        model.add_module("extra", nn.BatchNorm2d(3))
        training_mode(model, resting_modules(model, adapter))
        kinds = [m for m in model.modules() if type(m).__name__ in ("DropPath", "BatchNorm2d")]
        assert len(kinds) > 2
        assert all(m.training != resting for m in kinds)
        assert model.training


def test_pretrained_statistics_rest_and_random_ones_are_estimated_to_the_end() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    model[1].running_mean.fill_(0.5)
    for _ in range(2):
        assert resting_modules(model, "full") == [model[1]]
        training_mode(model, resting_modules(model, "full"))
        model(torch.randn(2, 3, 4, 4))
    assert torch.equal(model[1].running_mean, torch.full((3,), 0.5))
    assert model[0].running_mean.abs().sum() > 0
