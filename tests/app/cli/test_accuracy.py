"""Predicted against measured, over finished runs."""

import json
from pathlib import Path

from typer.testing import CliRunner

from app.cli.main import app


def test_errors_of_runs_are_gathered(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"predicted_peak_bytes": 98, "measured_peak_bytes": 100}))
    result = CliRunner().invoke(app, ["accuracy", str(tmp_path), "--json"])
    assert json.loads(result.stdout)["median"] == 0.02
