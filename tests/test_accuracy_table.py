"""The table of docs/accuracy and the docstrings say what results.jsonl holds, and it holds what s2a promises."""

import importlib
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

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


def test_compressed_ends_within_its_error_of_exact(accuracy: ModuleType) -> None:
    """Within 0.3 points, or within one standard error of the difference where that is larger."""
    missed, num_pairs = [], 0
    for group, ways in accuracy.groups().items():
        for adapter in {adapter for adapter, storage in ways if storage == "compressed"}:
            exact, error = _accuracy(accuracy, ways[adapter, "exact"])
            coded, its_error = _accuracy(accuracy, ways[adapter, "compressed"])
            num_pairs += 1
            if coded < exact - max(0.3, math.hypot(error, its_error)):
                missed.append((*group, adapter))
    assert num_pairs >= 4 * 7
    assert not missed


def test_compressed_activations_keep_the_gradient_of_narrowed_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    gradients = importlib.import_module("weights_gradients")
    document = json.loads(gradients.OUT.read_text())
    rows, of_single = document["rows"], document["of_single"]
    assert (ROOT / "docs" / "accuracy" / "gradients.md").read_text() == gradients.markdown(rows, of_single)
    assert len(of_single) == len(gradients.WEIGHTS) * len(gradients.DATA) * 2
    assert all(row["correlation"] > 0.8 and 0.7 < row["measured"] / row["true"] < 1.4 for row in of_single)
    assert {(row["model"], row["dataset"], row["weight_format"]) for row in rows} == {
        (model, dataset, weight_format)
        for model in gradients.WEIGHTS for dataset in gradients.DATA for weight_format in gradients.WEIGHT_FORMATS
    }  # fmt: skip
    assert min(cosine for row in rows for cosine in row["at_bits"].values()) >= 0.99


@pytest.mark.parametrize(
    ("model", "storage", "of_full", "of_the_way"),
    [("deit_tiny", "compressed", 0.987, 0.9), ("deit_tiny", "planned", 0.987, 0.9),
     ("mobilenetv2", "compressed", 0.96, None), ("mobilenetv2", "planned", 0.987, 0.9)],
)  # fmt: skip
def test_auto_is_as_good_as_full_fine_tuning(
    accuracy: ModuleType, model: str, storage: str, of_full: float, of_the_way: float | None
) -> None:
    """On both sets of photos; and it closes the distance from the head, where that is at least 5 points."""
    for (_, name), ways in accuracy.groups().items():
        if name != model:
            continue
        full, head = (_accuracy(accuracy, ways[adapter, "exact"])[0] for adapter in ("full", "head"))
        auto = _accuracy(accuracy, ways["auto", storage])[0]
        assert auto >= of_full * full
        if of_the_way is not None and full - head >= 5:
            assert auto - head >= of_the_way * (full - head)
        if model == "deit_tiny":
            assert ways["auto", storage][0]["trained_share"] <= 0.009


def _accuracy(accuracy: ModuleType, rows: list[dict[str, Any]]) -> tuple[float, float]:
    mean, error = accuracy.mean_and_error([100 * row["accuracy"] for row in rows])
    return mean, error
