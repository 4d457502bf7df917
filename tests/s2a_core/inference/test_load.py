"""A finished run loads back to the same logits, and what is no run says so."""

from pathlib import Path

import pytest
import torch

from s2a_core.errors import InvalidInput
from s2a_core.inference import load_run
from tests.assertions import assert_close


def test_the_loaded_run_gives_the_same_logits(finished: tuple[Path, torch.nn.Module, str]) -> None:
    directory, model, _ = finished
    x = torch.randn(3, 3, 32, 32)
    assert_close(load_run(directory).model(x), model(x), rel=1e-5)


def test_what_is_no_finished_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"report\.json, plan\.json, adapter\.safetensors is missing"):
        load_run(tmp_path)
    with pytest.raises(InvalidInput, match="no such directory"):
        load_run(tmp_path / "none")
