"""The largest batch is the last one that fits, wherever the search begins."""

from __future__ import annotations

import pytest

from benchmarks.largest import CONTESTANTS, largest, markdown


@pytest.mark.parametrize("guess", [1, 5, 12, 13, 14, 100])
@pytest.mark.parametrize("most", [0, 1, 12, 13])
def test_the_largest_batch_is_the_last_that_fits(most: int, guess: int) -> None:
    asked: list[int] = []

    def fits(batch: int) -> bool:
        asked.append(batch)
        return batch <= most

    assert largest(fits, guess) == most
    assert len(asked) == len(set(asked))
    assert min(asked) >= 1


def test_a_contestant_is_a_row_and_what_was_not_run_is_said() -> None:
    batches = [{"contestant": CONTESTANTS[0], "device_gib": 12, "batch": 3}]
    lines = markdown({"batches": batches, "plans": []}).splitlines()
    assert f"| {CONTESTANTS[0]} | 3 | not run |" in lines
    assert f"| {CONTESTANTS[1]} | not run | not run |" in lines
