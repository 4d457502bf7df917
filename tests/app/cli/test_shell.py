"""Each kind of error has its exit code."""

from typer.testing import CliRunner

from app.cli.main import app
from app.cli.shell import describe
from s2a_core.errors import InfeasibleBudget, InternalError, InvalidInput, JobFailed


def test_errors_map_to_exit_codes() -> None:
    infeasible = InfeasibleBudget(budget_bytes=1, min_feasible_budget_bytes=2, binding="weights", binding_bytes=2)
    errors = [InvalidInput("x"), infeasible, JobFailed("x"), InternalError("x"), ValueError("x")]
    assert [describe(e)["exit_code"] for e in errors] == [2, 3, 4, 1, 1]
    assert describe(infeasible)["details"]["min_feasible_budget_bytes"] == 2


def test_a_wrong_command_line_shows_the_usage_and_none_shows_the_help_only() -> None:
    done = CliRunner().invoke(app, ["predict"])
    assert done.exit_code == 2
    assert "Usage: s2a predict" in done.stderr
    assert "error" not in CliRunner().invoke(app, []).stderr


def test_a_file_where_a_directory_is_needed_and_a_full_disk_are_no_bugs() -> None:
    told = describe(FileExistsError(17, "File exists", "out"))
    assert (told["exit_code"], told["message"]) == (2, "out: is a file, not a directory")
    told = describe(OSError(28, "No space left on device", "out"))
    assert (told["exit_code"], told["message"]) == (2, "out: no space left on device")
