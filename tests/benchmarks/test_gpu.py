"""`make gpu-check` says clearly when there is no GPU; on one, it measures."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, suite


def test_without_a_gpu_it_says_so_and_fails_only_when_one_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.ERROR):
        assert gpu.main(["--output", str(tmp_path / "gpu.json")]) == 0
        assert gpu.main(["--require-device"]) == 2
    assert "there is no GPU here" in caplog.text
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.gpu
def test_on_a_gpu_it_writes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "CASE", suite.Case("vit_tiny_patch16_224", "bf16", batches=(2, 4)))
    assert gpu.main(["--output", str(tmp_path / "gpu.json"), "--repeats", "2"]) == 0
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert all(row["allocated_bytes"] > 0 for row in rows)
