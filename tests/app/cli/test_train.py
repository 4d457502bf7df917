"""`s2a train` explains its options."""

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.terminal import Terminal
from app.cli.train import _adapter, _start


def test_help_names_the_json_option() -> None:
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0
    assert "json" in result.stdout


def test_training_starts_from_pretrained_weights_unless_told_otherwise() -> None:
    assert _start("resnet18", None, has_plan=False) == "pretrained"
    assert _start("resnet18", None, has_plan=True) is None
    assert _start("resnet18", "none", has_plan=False) == "none"
    assert _start("s2a_tiny", None, has_plan=False) is None


def test_a_random_network_is_trained_in_full_unless_an_adapter_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(is_json=False)
    assert _adapter(terminal, "none", "auto", has_plan=False) == "full"
    assert "--adapter full" in capsys.readouterr().err
    assert _adapter(terminal, "none", "bias", has_plan=False) == "bias"
    assert _adapter(terminal, "none", "auto", has_plan=True) == "auto"
    assert _adapter(terminal, "pretrained", "auto", has_plan=False) == "auto"
    assert capsys.readouterr().err == ""
