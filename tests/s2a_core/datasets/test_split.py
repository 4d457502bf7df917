"""The split we make is stratified, depends on the seed alone, and keeps equal files together."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from s2a_core.datasets.split import stratified_split
from s2a_core.datasets.types import Sample


def samples_of(counts: list[int]) -> list[Sample]:
    return [Sample(f"{label}/{i}.png", b"", label) for label, count in enumerate(counts) for i in range(count)]


@given(st.lists(st.integers(2, 40), min_size=2, max_size=5), st.floats(0.05, 0.9), st.integers(0, 9))
def test_every_class_is_on_both_sides_in_the_asked_share(counts: list[int], fraction: float, seed: int) -> None:
    train, val = stratified_split(samples_of(counts), fraction, seed)
    assert len(train) + len(val) == sum(counts)
    assert not {s.name for s in train} & {s.name for s in val}
    held, kept = Counter(s.label for s in val), Counter(s.label for s in train)
    for label, count in enumerate(counts):
        assert kept[label] >= 1
        assert abs(held[label] - count * fraction) <= 1


def test_the_order_of_the_files_does_not_matter_and_the_seed_does() -> None:
    samples = samples_of([20, 30])
    assert stratified_split(samples, 0.2, 0) == stratified_split(samples[::-1], 0.2, 0)
    assert stratified_split(samples, 0.2, 0) != stratified_split(samples, 0.2, 1)


def test_equal_files_stay_on_one_side() -> None:
    samples = samples_of([10, 10])
    together = {f"0/{i}.png": 0 for i in range(5)}
    _, val = stratified_split(samples, 0.5, 3, together)
    assert sum(s.name in together for s in val) in (0, 5)


def test_a_single_image_stays_in_training() -> None:
    train, val = stratified_split(samples_of([1, 4]), 0.5, 0)
    assert [s.label for s in train].count(0) == 1
    assert {s.label for s in val} == {1}
