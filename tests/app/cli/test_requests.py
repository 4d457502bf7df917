"""What was said becomes a request; wrong values are refused first."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from app.cli import requests
from app.cli.requests import as_config, read_config, require, run_request, settle_budget, with_budget
from app.cli.terminal import Terminal
from s2a_core.errors import BadBudget, InvalidInput, UnknownField
from s2a_core.requests import FIELDS


def test_what_was_said_becomes_a_request() -> None:
    request = run_request({"model": "s2a_tiny", "budget_bytes": "1GiB"}, resume=True)
    assert (request.budget_bytes, request.epochs, request.resume) == (2**30, None, True)
    with pytest.raises(InvalidInput, match="cpu or cuda"):
        run_request({"model": "m", "device": "tpu"})


def test_what_a_command_needs_is_asked_for_with_an_example() -> None:
    require({"model": "m", "budget_bytes": "1GiB"}, "model", "budget_bytes")
    with pytest.raises(InvalidInput, match=r"--budget is missing: say it, --budget 4GiB say"):
        require({"model": "m"}, "model", "budget_bytes")
    with pytest.raises(InvalidInput, match="MODEL is missing"):
        require({}, "model")


def test_a_file_of_fields_is_read_as_options_are(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: resnet18\nbudget: 268435456\nlr: 1e-4\nepochs: 3\nnum_classes:\n")
    assert read_config(path, FIELDS) == {"model": "resnet18", "budget_bytes": "268435456", "lr": 1e-4, "epochs": 3}
    assert read_config(path, ("model",)) == {"model": "resnet18"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epohcs: 3", "has no field 'epohcs'; did you mean epochs"),
        ("budget_bytes: 3", "did you mean budget"),
        ("- model", "holds no fields"),
        ("model: [", "cannot be read as YAML"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=words) as refused:
        read_config(path, FIELDS)
    assert isinstance(refused.value, UnknownField) == ("did you mean" in words)
    with pytest.raises(InvalidInput, match=r"missing\.yaml"):
        read_config(tmp_path / "missing.yaml", FIELDS)


def test_a_budget_may_be_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "free_bytes", lambda device: (1000 * 2**20, "in this machine's memory"))
    assert with_budget({"budget_bytes": "50 %"}) == {"budget_bytes": 500 * 2**20}
    assert with_budget({"budget_bytes": "auto"}) == {"budget_bytes": 800 * 2**20}
    assert with_budget({"budget_bytes": "8g"}) == {"budget_bytes": 8 * 2**30}
    err = io.StringIO()
    terminal = Terminal(False, err, err)
    assert settle_budget(terminal, {"budget_bytes": "8g"}) == {"budget_bytes": 2**33}
    assert err.getvalue() == ""
    asked = {"budget_bytes": "auto", "device": "cpu"}
    assert settle_budget(terminal, asked) == {**asked, "budget_bytes": 800 * 2**20}
    said = "budget 800 MiB: 80 % of what is free in this machine's memory"
    assert err.getvalue().splitlines()[-1] == said
    for wrong in ("0%", "101%"):
        with pytest.raises(BadBudget, match="more than 0 % and at most 100 %"):
            with_budget({"budget_bytes": wrong})


def test_free_memory_on_cpu_is_this_machines() -> None:
    num_bytes, where = requests.free_bytes("cpu")
    assert num_bytes > 2**20
    assert "machine" in where


def test_what_was_said_is_read_again_from_its_own_yaml(tmp_path: Path) -> None:
    asked = {"model": "resnet18", "data": "it's: here", "budget_bytes": 2**30, "lr": 1e-5, "seed": 0}
    path = tmp_path / "run.yaml"
    path.write_text(as_config(asked))
    assert read_config(path, FIELDS) == {**asked, "budget_bytes": str(2**30)}
    assert "# epochs: 5, more of small data\n" in path.read_text()
