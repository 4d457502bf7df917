"""The table of GPU memory says clearly when there is no GPU, and shows what each contestant took beyond the context."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu

MIB = 2**20


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_device_it_says_so_and_writes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert gpu.main(["--output", str(tmp_path / "gpu.json")]) == 2
    assert "--double measures bytes without a GPU" in caplog.text
    assert not (tmp_path / "gpu.json").exists()


def test_the_table_shows_what_is_beyond_the_context() -> None:
    row = {"contestant": "full", "allocated_bytes": 90 * MIB, "reserved_bytes": 100 * MIB, "held_bytes": 530 * MIB}
    text = gpu.markdown([{**row, "context_bytes": 430 * MIB}])
    assert "| full | 90 MiB | 100 MiB | 100 MiB |" in text
