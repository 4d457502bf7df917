"""A finished run loads back to the same logits, and what is no run says so."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from s2a_core.errors import InvalidInput, WeightsMismatch
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


def test_a_damaged_run_says_which_file_is_wrong(finished: tuple[Path, torch.nn.Module, str], tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    shutil.copytree(finished[0], directory)
    report = (directory / "report.json").read_text()
    for text, words in (("{", "is not JSON"), ("{}", "does not say model, classes, data_config")):
        (directory / "report.json").write_text(text)
        with pytest.raises(InvalidInput, match=f"report.json {words}"):
            load_run(directory)
    fewer = json.loads(report)
    fewer["classes"].pop()
    (directory / "report.json").write_text(json.dumps(fewer))
    with pytest.raises(WeightsMismatch, match="unexpected head"):
        load_run(directory)
    (directory / "report.json").write_text(report)
    (directory / "adapter.safetensors").write_bytes(b"half")
    with pytest.raises(InvalidInput, match=r"adapter\.safetensors is damaged"):
        load_run(directory)


def test_a_device_that_is_not_there_is_said(finished: tuple[Path, torch.nn.Module, str]) -> None:
    with pytest.raises(InvalidInput, match=r"no CUDA device is available|there is no cuda:99"):
        load_run(finished[0], device="cuda:99")


def test_base_weights_that_have_gone_are_asked_for(finished: tuple[Path, torch.nn.Module, str], tmp_path: Path) -> None:
    run = tmp_path / "moved"
    shutil.copytree(finished[0], run)
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "weights": str(tmp_path / "gone.safetensors")}))
    with pytest.raises(InvalidInput, match=r"gone.safetensors any more: give them with --weights FILE"):
        load_run(run)
