"""The tutorial in a notebook: no noise on stderr, no output that hides the next one, and the pictures are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 40


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_tutorial_runs_as_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbconvert: pip install -e '.[dev]'")
    execute = pytest.importorskip("nbconvert.preprocessors", reason="needs nbconvert: pip install -e '.[dev]'")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook draws by its own
    blocks = BLOCK.findall((ROOT / "docs/tutorial.md").read_text())
    assert len(blocks) >= 3
    cells = [nbformat.v4.new_code_cell(source) for source in (*blocks, "prof", "p")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    runner = execute.ExecutePreprocessor(timeout=600, kernel_name="python3")
    runner.preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "stream"] == []
    shown = [output.data for output in outputs]
    assert all(str(data.get("text/plain", "")).count("\n") < MOST_LINES for data in shown)
    assert sum("image/png" in data for data in shown) == 2
    tables = [data["text/html"] for data in shown if "text/html" in data]
    assert len(tables) == 2
    assert all(table.count("<tr>") < MOST_LINES for table in tables)
    assert "exact per sample" in tables[0]
    assert "predicted peak" in tables[1]
