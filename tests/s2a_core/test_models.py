"""Models by name, and the errors of wrong names and wrong weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from s2a_core.errors import InvalidInput, UnknownModel, WeightsMismatch
from s2a_core.models import data_config, is_random, load_model


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownModel, match=r"did you mean.*deit_tiny"):
        load_model("deit_tinyy_patch16_224")


def test_weights_of_another_model_name_the_first_keys(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(2)}, str(tmp_path / "w.safetensors"))
    with pytest.raises(WeightsMismatch, match=r"missing cls_token.*unexpected conv1\.weight"):
        load_model("s2a_tiny", tmp_path / "w.safetensors", 10)


def test_a_file_that_is_not_there_or_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"rubbish")
    for path in (tmp_path / "w.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(InvalidInput):
            load_model("s2a_tiny", path)


def test_our_tiny_model_is_small_and_has_its_configuration() -> None:
    model = load_model("s2a_tiny", num_classes=7)
    assert sum(p.numel() for p in model.parameters()) < 500_000
    assert data_config(model)["image_size"] == 32


def test_random_weights_are_known_as_such() -> None:
    assert is_random("resnet18", None)
    assert is_random("s2a_tiny", "none")
    assert not is_random("s2a_tiny", None)


def test_a_transformer_takes_images_of_another_size_with_its_position_embeddings_resampled() -> None:
    model = load_model("s2a_tiny", num_classes=7, image_size=48)
    assert model(torch.zeros(1, 3, 48, 48)).shape == (1, 7)
    assert load_model("resnet18", "none", 7, 48)(torch.zeros(1, 3, 48, 48)).shape == (1, 7)


def test_weights_that_cannot_be_had_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", unreachable)
    monkeypatch.setattr("s2a_core.network.is_reachable", lambda *given: True)  # or else that is what is said
    with pytest.raises(InvalidInput, match=r"weights of resnet18 cannot be had \(no route to host\).*--weights FILE"):
        load_model("resnet18", "pretrained")


def test_a_new_classifier_starts_near_zero(tmp_path: Path) -> None:
    source = load_model("s2a_tiny", "none", 3)
    save_file(source.state_dict(), str(tmp_path / "w.safetensors"))
    other = load_model("s2a_tiny", tmp_path / "w.safetensors", 10)
    assert 0 < float(other.head.weight.detach().abs().max()) < 0.06
    assert float(other.head.bias.detach().abs().max()) == 0
    same = load_model("s2a_tiny", tmp_path / "w.safetensors", 3)
    assert torch.equal(same.head.weight, source.head.weight)


def test_an_encoder_without_a_classifier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.create_model", lambda *args, **options: torch.nn.Linear(2, 2))
    with pytest.raises(InvalidInput, match="an encoder without a classifier"):
        load_model("resnet18", "none", 5)
