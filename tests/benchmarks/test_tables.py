"""Tables say who is best plainly, and the README's tables are those of the committed result file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.results import Results
from tests.benchmarks.test_results import example

ROOT = Path(__file__).resolve().parents[2]


def test_the_overview_names_the_best_and_says_so_when_it_is_not_s2a() -> None:
    assert "best, 0.25x | - | 1.08 |" in tables.overview(example())  # 1.4 / 1.3 of bias tuning's step
    rows = tuple(dataclasses.replace(r, gradient_cosine=0.5) if r.kind == "s2a" else r for r in example().rows)
    assert "none reaches it" in tables.overview(dataclasses.replace(example(), rows=rows))
    rows = tuple(
        dataclasses.replace(r, peak_bytes_per_sample=8_000_000) if r.kind == "s2a" else r for r in example().rows
    )
    assert "not best, 2.00x" in tables.overview(dataclasses.replace(example(), rows=rows))


def test_the_document_shows_every_contestant_and_why_one_is_missing() -> None:
    text = tables.document(example())
    assert all(row.contestant in text for row in example().rows)
    assert "written for plain ViTs" in text


def test_the_floor_counts_what_the_leanest_method_holds() -> None:
    # 5 + 6 + 4 samples of 5 bytes; the peak of 5,000,000 and a model of 100
    assert tables.floors(example()).endswith(f"| {5_000_100 / 31:.2f} |")


def test_the_largest_batch_follows_the_slope_and_is_zero_when_the_weights_do_not_fit() -> None:
    row = example().rows[1]
    assert tables.largest_batch(row, 101_000_000) == 99
    assert tables.largest_batch(row, 50) == 0


def test_filling_a_readme_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    tables.fill(readme, example())
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="bench:begin"):
        tables.fill(readme, example())


def test_the_readme_and_the_tables_are_those_of_the_committed_results() -> None:
    committed = Results.read(ROOT / "docs" / "bench" / "results.json")
    assert tables.section(committed) in (ROOT / "README.md").read_text(), "run `python -m benchmarks --render-only`"
    assert tables.document(committed) == (ROOT / "docs" / "bench" / "tables.md").read_text()
