"""`s2a predict` reads the images that training reads and says their classes."""

import csv
import io
from pathlib import Path

from typer.testing import CliRunner

from app.cli.main import app
from s2a_core.datasets import open_dataset
from tests.s2a_core.inference.conftest import make_run


def test_hidden_files_of_a_directory_are_passed_over(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "norm")
    sample = open_dataset("digits").val.samples[0]
    assert isinstance(sample.source, bytes)
    for name in ("a.png", "more/b.png", ".thumbnails/a.png", "__MACOSX/a.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.source)
    (tmp_path / "in" / "._a.png").write_bytes(b"resource fork")
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(tmp_path / "in"), "--format", "csv"])
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [Path(row["path"]).relative_to(tmp_path / "in").as_posix() for row in rows] == ["a.png", "more/b.png"]
    assert all(row["class_1"] in map(str, range(10)) for row in rows)
