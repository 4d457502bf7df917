"""Turns of a made-up trace, and lines through two batches."""

from __future__ import annotations

from s2a_core.compression.watch import BACKWARD, FORWARD, GRADIENT, Mark
from s2a_core.profiling.timeline import (
    START,
    Trace,
    Turn,
    chunk_slope,
    chunked,
    held_until,
    line,
    segments,
    two_batches,
    upper_segments,
    with_moments,
)
from s2a_core.profiling.types import Segment

MARKS = (Mark(FORWARD, "a"), Mark(FORWARD, "x"), Mark(BACKWARD, "a"), Mark(GRADIENT, "a", 30))
TRACE = Trace(MARKS, (5, 40, 20, 90, 60, 80, 70), {0: 1, 1: 3, 2: 4, 3: 6})


def test_every_turn_has_its_largest_value() -> None:
    turns = TRACE.turns()
    assert turns[FORWARD, START].fresh == 5
    assert turns[FORWARD, "a"].fresh == 40
    assert turns[FORWARD, "x"].fresh == 90
    assert turns[BACKWARD, "a"] == Turn(fresh=90, later=90)


def test_sites_that_are_not_listed_belong_to_the_turn_they_fall_in() -> None:
    assert TRACE.turns({"a"})[FORWARD, "a"].fresh == 90
    assert (FORWARD, "x") not in TRACE.turns({"a"})


def test_gradients_so_far_are_left_out_of_later_micro_batches() -> None:
    trace = Trace((Mark(BACKWARD, "a"), Mark(GRADIENT, "a", 30), Mark(BACKWARD, "b")), (50, 60, 65), {0: 0, 1: 1, 2: 2})
    assert trace.turns()[BACKWARD, "b"] == Turn(fresh=65, later=35)


def test_on_cuda_marks_carry_the_peak_since_the_one_before() -> None:
    trace = Trace((Mark(FORWARD, "a", peak_before=10), Mark(BACKWARD, "a", peak_before=70), Mark(GRADIENT, "a", 0, 90)))
    assert trace.turns()[FORWARD, "a"].fresh == 70
    assert trace.turns()[BACKWARD, "a"].fresh == 90


def test_segments_are_lines_above_what_is_held() -> None:
    steps = [{(FORWARD, "a"): Turn(100 * n, 100 * n)} for n in (2, 4, 1)]
    held = [held_until(["a"], {"a": 60 * n}) for n in (2, 4, 1)]
    (found,) = segments((2, 4), steps, held)["a"]
    assert (found.fixed_bytes, found.bytes_per_sample, found.one_bytes) == (0, 40, 40)
    assert found.at(10, is_fresh=True) == 400


def test_lines_never_fall_and_batches_are_at_least_two_where_they_can() -> None:
    assert line((2, 4), (100, 60)) == (60, 0)
    assert [two_batches(n) for n in (2, 3, 4, 8)] == [(1, 2), (2, 3), (2, 4), (4, 8)]


def test_one_batch_alone_grows_from_nothing() -> None:
    assert two_batches(1) == (1, 1)
    assert line((1, 1), [70, 70]) == (0, 70)


def test_a_turn_is_followed_at_every_moment_to_larger_batches() -> None:
    """Of two moments the first is the worst at two and four images, the second, which grows, at eight."""
    marks = (Mark(FORWARD, "a"), Mark(BACKWARD, "a"))

    def traces(opening: tuple[int, int], turn: tuple[int, int], back: tuple[int, int]) -> list[Trace]:
        return [Trace(marks, (*_at(opening, n), *_at(turn, n), *_at(back, n)), {0: 3, 1: 6}) for n in (2, 4)]

    for place, (site, is_backward) in enumerate(((START, False), ("a", False), ("a", True))):
        growing = [(0, 0), (0, 0), (0, 0)]
        growing[place] = (100, 20)
        steps = traces(*growing)
        held = [{"a": 1}, {"a": 1}]
        found = segments((2, 4), [trace.turns() for trace in steps], held)
        more = 0 if site == START else 1
        assert _top(found, site, is_backward, 8) == 100 - more
        followed = with_moments((2, 4), found, steps, held)
        assert [_top(followed, site, is_backward, n) for n in (2, 4, 8)] == [100 - more, 100 - more, 160 - more]
        between = 3 * place + 1  # one moment more: which is which is not known
        sizes = (*steps[1].sizes[:between], 7, *steps[1].sizes[between:])
        uneven = (steps[0], Trace(marks, sizes, {0: 3 + (place < 1), 1: 6 + (place < 2)}))
        assert _top(with_moments((2, 4), found, uneven, held), site, is_backward, 8) == 100 - more


def _at(moments: tuple[int, int], samples: int) -> tuple[int, int, int]:
    """Of a turn: what it takes at its first moment, whatever the samples, at its second one, and after it."""
    fixed, slope = moments
    return fixed, slope * samples, 5


def _top(segments_of: dict[str, tuple[Segment, ...]], site: str, is_backward: bool, samples: int) -> int:
    return max(s.at(samples, True) for s in segments_of[site] if s.is_backward == is_backward)


def test_a_further_sample_of_a_chunk_takes_the_steepest_slope_that_is_no_jump() -> None:
    assert chunk_slope({1: 100, 4: 400}) == 100
    assert chunk_slope({1: 100, 2: 110, 4: 400}) == 145  # from 2 to 4: another moment is the worst one there
    assert chunk_slope({1: 100, 2: 300, 4: 400}) == 100  # from 1 to 2: a jump
    assert chunk_slope({1: 100, 2: 230, 4: 400}) == 130  # all samples as one chunk put no outputs together
    assert chunk_slope({1: 400, 4: 100}) == 0
    assert chunk_slope({1: 100}) == 0


def test_larger_chunks_cost_each_pass_its_own() -> None:
    """Backward, which rebuilds, takes more for a further sample than forward, which has the higher turn apart."""
    steps = [{(FORWARD, "a"): Turn(100 * n, 100 * n), (BACKWARD, "a"): Turn(50 * n, 50 * n)} for n in (2, 4)]
    apart = segments((2, 4), steps, [{}, {}])
    together = {(FORWARD, "a"): Turn(430, 430), (BACKWARD, "a"): Turn(500, 500)}
    grown = chunked(apart, 4, {4: (together, {})})["a"]
    assert {s.is_backward: s.chunk_bytes for s in grown} == {False: 10, True: 100}
    assert {s.is_backward: s.at(8, True, 4) for s in grown} == {False: 830, True: 700}


def test_of_segments_that_are_alike_everywhere_one_stays() -> None:
    alike = (Segment(0, 10, 0, 10, 10, 10), Segment(0, 10, 0, 10))  # one sample alone was measured, or follows the line
    lower, other_pass = Segment(0, 9, 0, 9), Segment(0, 9, 0, 9, is_backward=True)
    assert upper_segments([lower, *alike, other_pass]) == (alike[0], other_pass)
