"""`s2a plan` explains its options."""

from typer.testing import CliRunner

from app.cli.main import app


def test_help_names_the_json_option() -> None:
    result = CliRunner().invoke(app, ["plan", "--help"], env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0
    assert "json" in result.stdout
