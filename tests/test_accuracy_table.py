"""The table of docs/accuracy and the docstrings say what results.jsonl holds."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from s2a_core.adapters import spec

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/accuracy_table.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("accuracy_table")


def test_the_table_is_that_of_the_results(accuracy: ModuleType) -> None:
    assert (ROOT / "docs" / "accuracy" / "README.md").read_text() == accuracy.table()


def test_the_adapters_docstring_says_the_measured_accuracies(accuracy: ModuleType) -> None:
    lines = accuracy.summary()
    assert lines.count("\n") >= 3
    assert lines in (spec.__doc__ or "") + "\n"


def test_the_readme_shows_the_rows_that_the_results_give(accuracy: ModuleType) -> None:
    assert accuracy.MARKS[0] + accuracy.readme_table() + accuracy.MARKS[1] in (ROOT / "README.md").read_text()


def test_results_are_of_one_protocol_for_each_model_and_dataset() -> None:
    rows = [json.loads(line) for line in (ROOT / "docs" / "accuracy" / "results.jsonl").read_text().splitlines()]
    keys = [row["key"] for row in rows]
    assert len(keys) == len(set(keys))
    protocols = {(row["model"], row["dataset"]): set() for row in rows}
    for row in rows:
        protocols[row["model"], row["dataset"]].add((row["image_size"], row["epochs"], row["num_train"], row["lr"]))
    assert all(len(found) == 1 for found in protocols.values())
