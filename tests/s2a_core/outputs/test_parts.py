"""Every part that a breakdown can have is in the one table of words and colours."""

from __future__ import annotations

from pathlib import Path

from s2a_core.outputs.parts import PARTS, method_words, part_of, parts_of
from s2a_core.planning import overhead
from s2a_core.planning.peak import STEP_PARTS


def test_every_part_of_a_peak_has_words_and_colours() -> None:
    of_runs = {overhead.AVERAGE, overhead.BEST_STATE, *overhead.OF_DEVICE, overhead.SLACK, "margin"}
    assert {part.name for part in PARTS} == {*STEP_PARTS, *of_runs}


def test_colours_are_those_of_the_style_sheet() -> None:
    sheet = (Path(overhead.__file__).parents[1] / "outputs" / "report.css").read_text()
    assert all(f".{part.css}" in sheet for part in PARTS)


def test_parts_are_drawn_in_one_order_and_unknown_ones_last() -> None:
    breakdown = {"arena": 3, "margin": 0, "held": 5, "weights": 7}
    assert [(part.name, size) for part, size in parts_of(breakdown)] == [("weights", 7), ("held", 5), ("arena", 3)]
    assert part_of("arena").words == "arena"


def test_other_methods_have_words() -> None:
    assert [method_words(name) for name in ("full", "bias + checkpointing")] == [
        "full fine-tuning",
        "bias + checkpointing",
    ]
