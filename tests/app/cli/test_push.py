"""`s2a push` refuses a directory that is no finished run, and a name that is none."""

from pathlib import Path

from typer.testing import CliRunner

from app.cli.main import app


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["push", str(tmp_path), "ana/digits"])
    assert result.exit_code == 2
    assert "is not a finished run" in result.output


def test_it_is_listed_with_what_happens_here() -> None:
    assert " push " in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).stdout
