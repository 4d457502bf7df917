"""Exports load without s2a_core where the adapter merges, and as a package where it does not."""

import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from s2a_core.inference import export_run, load_run
from tests.assertions import assert_close

PLAIN = """
import sys; sys.modules["s2a_core"] = None  # importing it fails
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
    if "prompt" in adapter or "side" in adapter:
        assert export_run(load_run(directory), tmp_path / "run.zip")["format"] == "s2a"
        with zipfile.ZipFile(tmp_path / "run.zip") as package:
            package.extractall(tmp_path / "again")
        assert_close(load_run(tmp_path / "again").model(x), model(x), rel=1e-5)
        return
    assert export_run(load_run(directory), tmp_path / "model.safetensors")["format"] == "timm"
    save_file({"x": x}, str(tmp_path / "x.safetensors"))
    subprocess.run([sys.executable, "-c", PLAIN], cwd=tmp_path, check=True, timeout=100)
    assert_close(load_file(str(tmp_path / "y.safetensors"))["y"], model(x).detach(), rel=1e-5)
