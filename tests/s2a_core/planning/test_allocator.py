"""The allocator's rules, one by one, on traces worked out by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from s2a_core.planning.allocator import KIB, MIB, CachingAllocator, simulate


def test_sizes_are_rounded_and_small_ones_share_a_segment() -> None:
    result = simulate([(1, 1), (2, 513), (3, 1000 * KIB)])
    assert result.allocated == 512 + 1024 + 1000 * KIB
    assert result.reserved == 2 * MIB


def test_segments_by_size() -> None:
    assert simulate([(1, 2 * MIB)]).reserved == 20 * MIB
    assert simulate([(1, 10 * MIB)]).reserved == 10 * MIB
    assert simulate([(1, 33 * MIB)]).reserved == 34 * MIB
    assert simulate([(i, 6 * MIB) for i in range(3)]).reserved == 20 * MIB
    assert simulate([(i, 6 * MIB) for i in range(4)]).reserved == 40 * MIB


def test_freed_neighbours_merge_and_are_used_again() -> None:
    trace = [(1, 6 * MIB), (2, 6 * MIB), (3, 6 * MIB), (1, 0), (2, 0), (4, 9 * MIB + 900 * KIB)]
    assert simulate(trace).reserved == 20 * MIB
    holes = [(1, 6 * MIB), (2, 6 * MIB), (3, 6 * MIB), (1, 0), (3, 0), (4, 9 * MIB)]
    assert simulate(holes).reserved == 40 * MIB  # 12 MiB are free, but not in one piece


def test_a_large_rest_of_at_most_one_mebibyte_is_not_split() -> None:
    allocator = CachingAllocator()
    block = allocator.allocate(33 * MIB + 100)
    assert block.size == 34 * MIB
    assert allocator.allocated == 34 * MIB


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 30 * MIB)), max_size=40))
def test_what_is_freed_comes_back_and_reserved_covers_allocated(steps: list[tuple[int, int]]) -> None:
    allocator = CachingAllocator()
    alive = {}
    for tensor, size in steps:
        if tensor in alive:
            allocator.free(*alive.pop(tensor))
        else:
            alive[tensor] = allocator.allocate(size), size
        assert allocator.allocated == sum(block.size for block, _ in alive.values()) <= allocator.reserved
    for block, size in alive.values():
        allocator.free(block, size)
    assert allocator.allocated == 0
    free = sum(entry[0] for pool in allocator._free.values() for entry in pool)
    assert free == allocator.reserved
