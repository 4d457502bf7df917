"""A run's directory has every file of the contract, and report.json last."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from s2a_core.outputs import write_documents


def test_every_file_of_the_contract_is_written(report: dict[str, Any], plan: dict[str, Any], tmp_path: Path) -> None:
    stored = write_documents(tmp_path, report, plan, {"head.bias": torch.zeros(6)})
    names = {"adapter.safetensors", "plan.json", "report.json", "report.html", "metrics.csv", "README.md"} | {
        "examples.json"
    }
    assert {p.name for p in tmp_path.iterdir()} == names
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(stored))


def test_a_failed_write_leaves_no_finished_run(report: dict[str, Any], plan: dict[str, Any], tmp_path: Path) -> None:
    write_documents(tmp_path, report, plan, {"head.bias": torch.zeros(6)})
    with pytest.raises(TypeError):
        write_documents(tmp_path, {**report, "history": 5}, plan, {"head.bias": torch.zeros(6)})
    assert not (tmp_path / "report.json").exists()
