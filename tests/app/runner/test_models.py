"""Timm's registry as the API shows it."""

from __future__ import annotations

from app.runner.models import _entry, _num_params, _our_own


def test_an_entry_has_its_family_size_and_tags() -> None:
    entry = _entry("vit_tiny_patch16_224", has_sizes=False)
    assert (entry["family"], entry["input_size"], entry["num_params"]) == ("vision_transformer", [3, 224, 224], None)
    assert any("vit_tiny_patch16_224" in tag for tag in entry["pretrained"])


def test_parameters_are_counted_without_allocating_them() -> None:
    assert _num_params("vit_tiny_patch16_224") == 5717416
    assert _num_params("no_such_model") is None


def test_our_own_model_is_listed() -> None:
    assert (_our_own()["name"], _our_own()["input_size"]) == ("s2a_tiny", [3, 32, 32])
