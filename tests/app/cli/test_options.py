"""`s2a plan` explains its options."""

from typer.testing import CliRunner

from app.cli.main import app
from app.cli.options import adapter_names, model_names


def test_help_names_the_json_option() -> None:
    result = CliRunner().invoke(app, ["plan", "--help"], env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0
    assert "json" in result.stdout


def test_models_and_adapters_complete() -> None:
    assert adapter_names("lora") == ["lora", "lora-lite"]
    assert "bias,prompt" in adapter_names("bias,p")
    assert "bias,bias" not in adapter_names("bias,")
    assert model_names("deit_tiny")[0].startswith("deit_tiny")
    assert model_names("s2a_") == ["s2a_tiny"]
