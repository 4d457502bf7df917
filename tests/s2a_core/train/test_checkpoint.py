"""A checkpoint brings back the generators, and refuses another run."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from s2a_core.errors import InvalidInput
from s2a_core.train.checkpoint import drop_checkpoint, load_checkpoint, save_checkpoint


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"identity": "a", "epoch": 1})
    expected = draws()
    state = load_checkpoint(tmp_path, "a")
    assert state is not None
    assert state["epoch"] == 1
    assert draws() == expected


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"identity": "a"})
    with pytest.raises(InvalidInput, match="another run"):
        load_checkpoint(tmp_path, "b")
    drop_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path, "b") is None
