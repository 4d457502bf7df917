"""A model for another image size is the one that timm builds for it, with weights resampled by timm's own filter."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from s2a_core.errors import InvalidInput, WeightsMismatch
from s2a_core.image_sizes import size_arguments
from s2a_core.models import load_model
from tests.assertions import assert_close


@pytest.mark.parametrize(
    ("name", "size"), [("swinv2_tiny_window8_256", 96), ("mvitv2_tiny", 96), ("test_vit", 96), ("test_resnet", 64)]
)
@torch.no_grad()
def test_weights_of_the_own_size_load_as_timm_loads_them(name: str, size: int, tmp_path: Path) -> None:
    state = timm.create_model(name, num_classes=5).state_dict()
    save_file({key: value.clone() for key, value in state.items()}, str(tmp_path / "own.safetensors"))
    overlay: dict[str, Any] = {"state_dict": state, "num_classes": 5}
    arguments = size_arguments(name, size)
    expected = timm.create_model(name, pretrained=True, num_classes=5, pretrained_cfg_overlay=overlay, **arguments)
    images = torch.randn(2, 3, size, size)
    model = load_model(name, tmp_path / "own.safetensors", 5, size)
    assert_close(model(images), expected.eval()(images), rel=1e-6)
    assert set(arguments) == (set() if name == "test_resnet" else {"img_size"})


def test_a_size_that_timm_cannot_build_is_refused_with_sizes_that_work() -> None:
    with pytest.raises(InvalidInput, match=r"cannot take images of 20 pixels.*sizes that work: ") as raised:
        load_model("nest_tiny", "none", 5, 20)
    for size in raised.value.details["sizes_that_work"]:
        assert size_arguments("nest_tiny", size) in ({}, {"img_size": size})
    with pytest.raises(InvalidInput, match="cannot take images of 3 pixels"):
        load_model("s2a_tiny", image_size=3)


def test_weights_that_timm_cannot_resample_are_told_from_those_of_another_model(tmp_path: Path) -> None:
    model = timm.create_model("cait_xxs24_224", num_classes=5)
    save_file(model.state_dict(), str(tmp_path / "own.safetensors"))
    with pytest.raises(InvalidInput, match="timm cannot resample them to 96"):
        load_model("cait_xxs24_224", tmp_path / "own.safetensors", 5, 96)
    other = {name: torch.zeros(3) for name in model.state_dict()}
    save_file(other, str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsMismatch, match=r"unexpected blocks"):
        load_model("cait_xxs24_224", tmp_path / "other.safetensors", 5, 96)


@pytest.mark.parametrize(
    ("name", "size", "arguments"),
    [
        ("test_vit", "96x160", {"img_size": (96, 160)}),
        ("test_resnet", "64x96", {}),
        ("test_vit", "96x96", {"img_size": 96}),
    ],
)
@torch.no_grad()
def test_a_size_that_is_no_square_has_a_height_and_a_width(name: str, size: str, arguments: dict[str, Any]) -> None:
    assert size_arguments(name, size) == arguments
    height, width = map(int, size.split("x"))
    assert load_model(name, "none", 5, size)(torch.randn(1, 3, height, width)).shape == (1, 5)
    with pytest.raises(InvalidInput, match="nest_tiny cannot take images of 96x160 pixels"):
        size_arguments("nest_tiny", "96x160")
