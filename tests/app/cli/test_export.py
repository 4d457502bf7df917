"""`s2a export` writes the format of the suffix and says how to load it; another suffix is exit code 2."""

import json
from pathlib import Path

import torch
from typer.testing import CliRunner

from app.cli.main import app
from tests.s2a_core.inference.conftest import make_run


def test_an_export_is_loaded_by_the_line_it_prints(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "norm")
    target = tmp_path / "model.pt"
    result = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(target), "--json"])
    document = json.loads(result.stdout)
    assert (document["format"], document["bytes"]) == ("timm", target.stat().st_size)
    assert "blocks.0.norm1.weight" in torch.load(target, weights_only=True)
    refused = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "model.tflite")])
    assert refused.exit_code == 2
    assert not (tmp_path / "model.tflite").exists()
