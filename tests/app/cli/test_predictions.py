"""Predicted against measured, over finished runs and over every plan verified on this machine."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.profiles import pairs_file


def test_errors_of_runs_are_gathered(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"predicted_peak_bytes": 100, "measured_peak_bytes": 98}))
    result = CliRunner().invoke(app, ["predictions", str(tmp_path), "--json"])
    assert json.loads(result.stdout)["median"] == pytest.approx(0.02)
    assert json.loads(result.stdout)["under_predicted"] == 0


def test_pairs_of_this_machine_make_the_margin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    empty = json.loads(CliRunner().invoke(app, ["predictions", "--json"]).stdout)
    assert empty["count"] == 0
    pair = {"model": "m", "adapter": "bias", "precision": "fp32", "device": "cpu", "predicted_bytes": 1000}
    lines = [json.dumps({**pair, "measured_bytes": 950 + i}) for i in range(100)]
    pairs_file().parent.mkdir(parents=True)
    pairs_file().write_text("\n".join(lines) + '\n{"model": "unfin')
    found = json.loads(CliRunner().invoke(app, ["predictions", "--json"]).stdout)
    assert found["count"] == 100
    assert found["under_predicted"] == 49
    assert found["margin"] == pytest.approx(0.045)
    text = CliRunner().invoke(app, ["predictions"]).stdout
    assert "margin" in text


def test_a_directory_without_a_report_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["predictions", str(tmp_path)])
    assert result.exit_code == 2


def test_a_report_that_is_damaged_and_pairs_that_are_not_there_are_said(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    result = CliRunner().invoke(app, ["predictions", str(tmp_path)])
    assert (result.exit_code, "is damaged" in result.stderr) == (2, True)
    result = CliRunner().invoke(app, ["predictions", "--pairs", str(tmp_path / "none")])
    assert (result.exit_code, "no such file" in result.stderr) == (2, True)


def test_runs_without_a_verified_plan_are_not_taken_for_this_machines(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    assert "in these runs" in CliRunner().invoke(app, ["predictions", str(tmp_path)]).stdout


def test_the_former_name_goes_on_working_and_is_not_listed(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["accuracy", str(tmp_path)])
    assert (result.exit_code, "is not a finished run" in result.output) == (2, True)
    assert " accuracy " not in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).stdout


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    run = tmp_path / "lr[bold]" / "[" / "x]"
    run.mkdir(parents=True)
    (run / "report.json").write_text(json.dumps({"predicted_peak_bytes": 100, "measured_peak_bytes": 98}))
    result = CliRunner().invoke(app, ["predictions", str(run)])
    assert (result.exit_code, f"{run}  -2.00 %" in result.stdout) == (0, True), result.output
