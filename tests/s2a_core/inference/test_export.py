"""Exports load without s2a_core where the adapter merges, and as a package where it does not."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.kinds import KINDS
from s2a_core.errors import InternalError, InvalidInput
from s2a_core.inference import export_name, export_run, load_run
from s2a_core.inference.load import LoadedRun
from s2a_core.inference.onnx_file import onnx_logits
from s2a_core.models import load_model
from tests.assertions import assert_close

PLAIN = """
import sys; sys.modules["s2a_core"] = None  # importing it fails
import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
model = VisionTransformer(img_size=32, patch_size=4, embed_dim=80, depth=6, num_heads=4, num_classes=10)
model.load_state_dict(load_file("model.safetensors"))
with torch.no_grad():
    save_file({"y": model.eval()(load_file("x.safetensors")["x"])}, "y.safetensors")
"""


def test_an_export_gives_the_same_logits_elsewhere(finished: tuple[Path, torch.nn.Module, str], tmp_path: Path) -> None:
    directory, model, adapter = finished
    x = torch.randn(3, 3, 32, 32)
    if AdapterSpec.parse(adapter).merge_refusals:
        assert export_name(load_run(directory)) == "model.zip"
        assert export_run(load_run(directory), tmp_path / "run.zip")["format"] == "s2a"
        with zipfile.ZipFile(tmp_path / "run.zip") as package:
            package.extractall(tmp_path / "again")
        assert_close(load_run(tmp_path / "again").model(x), model(x), rel=1e-5)
        return
    assert export_name(load_run(directory)) == "model.safetensors"
    assert export_run(load_run(directory), tmp_path / "model.safetensors")["format"] == "timm"
    save_file({"x": x}, str(tmp_path / "x.safetensors"))
    subprocess.run([sys.executable, "-c", PLAIN], cwd=tmp_path, check=True, timeout=100)
    assert_close(load_file(str(tmp_path / "y.safetensors"))["y"], model(x).detach(), rel=1e-5)


BY_NAME = """
import sys; sys.modules["s2a_core"] = None  # importing it fails
import timm, torch
from safetensors.torch import load_file, save_file
x, made = load_file("x.safetensors")["x"], [{loads}]
with torch.no_grad():
    save_file({{str(i): model.eval()(x) for i, model in enumerate(made)}}, "y.safetensors")
"""


@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenetv2_050", 32), ("vit_tiny_patch16_224", 48), ("swinv2_tiny_window8_256", 96), ("s2a_tiny", 48)],
)
def test_timm_takes_an_export_by_the_words_it_is_told_with(name: str, size: int, tmp_path: Path) -> None:
    """Every adapter that merges, on a network with BatchNorm and on one whose images are not of its own size."""
    x = torch.randn(2, 3, size, size)
    save_file({"x": x}, str(tmp_path / "x.safetensors"))
    loads, expected = [], []
    merging = [kind for kind, declared in KINDS.items() if declared.merge is not None]
    for kinds in ("head", "lora", "ssf") if "swin" in name else (*merging, "bias,norm"):
        model = add_adapters(load_model(name, "none", 5, size), AdapterSpec.parse(kinds), size).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.01 * torch.randn_like(parameter))
            expected.append(model(x))
        report = {"model": name, "classes": list("abcde"), "image_size": size}
        told = export_run(LoadedRun(tmp_path, model, report, {}, "cpu"), tmp_path / f"{kinds}.safetensors")
        assert told["format"] == "timm"
        loads.append(told["load"])
    program = BY_NAME.format(loads=", ".join(loads))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=100)
    found = load_file(str(tmp_path / "y.safetensors"))
    for index, logits in enumerate(expected):
        assert_close(found[str(index)], logits, rel=1e-5)


def changed_run(directory: Path, kinds: str, name: str = "s2a_tiny", size: int = 32) -> LoadedRun:
    """A run of random weights whose adapter has moved."""
    model = add_adapters(load_model(name, "none", 5, size), AdapterSpec.parse(kinds), size).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01 * torch.randn_like(parameter))
    spec = model.s2a_adapter.to_json()
    report = {"model": name, "classes": list("abcde"), "image_size": size, "data_config": {}, "adapter": spec}
    return LoadedRun(directory, model, report, {"adapter": kinds}, "cpu")


def test_the_suffix_is_the_format_and_another_one_is_refused(tmp_path: Path) -> None:
    run = changed_run(tmp_path, "lora")
    for suffix in (".pt", ".pth", ".safetensors"):
        assert export_run(run, tmp_path / f"model{suffix}")["format"] == "timm"
    assert set(torch.load(tmp_path / "model.pt", weights_only=True)) == set(load_file(tmp_path / "model.safetensors"))
    assert export_run(run, tmp_path / "deep" / "model.zip")["format"] == "s2a"
    for name in ("model.bin", "model", "model.tflite"):
        with pytest.raises(InvalidInput, match=r"\.safetensors, \.pt, \.pth.*\.onnx.*\.zip"):
            export_run(run, tmp_path / name)
    with pytest.raises(InvalidInput, match=r"plain timm lacks.*use \.zip or \.onnx"):
        export_run(changed_run(tmp_path, "bias,prompt"), tmp_path / "prompt.safetensors")
    with pytest.raises(InvalidInput, match="have a ReLU between their layers, so no weights of the plain model do"):
        export_run(changed_run(tmp_path, "adaptformer"), tmp_path / "adaptformer.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "deep", "model.pt", "model.pth", "model.safetensors"
    ]  # fmt: skip


def test_a_file_that_gives_other_logits_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = changed_run(tmp_path, "head")
    monkeypatch.setattr(
        "s2a_core.inference.formats.merged_state_dict", lambda model: load_model("s2a_tiny", "none", 5).state_dict()
    )
    with pytest.raises(InternalError, match="gives other logits"):
        export_run(run, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("test_vit", "lora"),
        ("swin_tiny_patch4_window7_224", "head"),
        ("convnext_atto", "bias"),
        ("test_resnet", "norm"),
        ("mobilenetv3_small_050", "lora"),
        ("s2a_tiny", "bias,prompt"),
    ],
)
def test_onnx_gives_the_logits_of_the_run_for_any_batch(name: str, kinds: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX needs the extra s2a[onnx]")
    size = 32 if name == "s2a_tiny" else 64
    run = changed_run(tmp_path, kinds, name, size)
    assert export_run(run, tmp_path / "model.onnx")["largest_difference"] < 1e-4
    images = torch.randn(3, 3, size, size)
    with torch.no_grad():
        assert_close(onnx_logits(tmp_path / "model.onnx", images), run.model(images), rel=1e-4)
