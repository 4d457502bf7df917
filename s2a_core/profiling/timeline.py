"""From the traces of two batches to each site's work: most bytes alive in its turn, beyond what sites hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from s2a_core.compression.watch import BACKWARD, FORWARD, GRADIENT, Mark, RowSum
from s2a_core.profiling.types import Segment

# Blocks of ViT, BEiT and DINOv2 bend by 1.24 to 1.29 (`python -m benchmarks.modules`, micro-batches of 4).
MOST_BEND = 1.5
START = ""  # the turn before the first site


@dataclass(frozen=True)
class Turn:
    """Most bytes alive in one site's turn, above those at the step's begin. later: without gradients so far.

    sum, later_sum: the largest gradient whose rows are summed in it, and with what is alive without gradients.
    """

    fresh: int
    later: int
    sum: RowSum | None = None
    later_sum: int = 0


Turns = dict[tuple[str, str], Turn]  # (phase, site) -> what its turn needs
Moments = dict[tuple[str, str], list[tuple[int, int]]]  # (phase, site) -> bytes at each of its moments


@dataclass(frozen=True)
class Trace:
    """A metered step. sizes: bytes alive after each event; places: mark -> event index;
    sums: mark -> the largest gradient whose rows are summed after it.

    Marks without a place have their own `peak_before`, as on CUDA, where sizes is empty.
    """

    marks: tuple[Mark, ...] = ()
    sizes: tuple[int, ...] = ()
    places: Mapping[int, int] = field(default_factory=dict)
    sums: Mapping[int, RowSum] = field(default_factory=dict)

    def _cuts(self, listed: Collection[str] | None) -> Iterator[tuple[int, tuple[str, str], int, int, int]]:
        """(mark, or -1 for the begin; whose turn it falls in; first event and the one after the last until the next
        mark; bytes of gradients so far).
        """
        key, gradients = (FORWARD, START), 0
        for i in range(-1, len(self.marks)):
            if i >= 0:
                mark = self.marks[i]
                if mark.phase == GRADIENT:
                    gradients += mark.num_bytes
                elif listed is None or mark.site in listed:
                    key = (mark.phase, mark.site)
                elif mark.phase != key[0]:
                    key = (mark.phase, key[1])
            begin = self.places.get(i, 0) if i >= 0 else 0
            end = self.places.get(i + 1, len(self.sizes)) if i + 1 < len(self.marks) else len(self.sizes)
            yield i, key, begin, end, gradients

    def moments(self, listed: Collection[str]) -> Moments:
        """(later, fresh) bytes alive after each event of every turn, as Turn has them; none where events were not
        recorded.
        """
        moments: Moments = {}
        for _, key, begin, end, gradients in self._cuts(listed):
            moments.setdefault(key, []).extend((size - gradients, size) for size in self.sizes[begin:end])
        return moments

    def turns(self, listed: Collection[str] | None = None) -> Turns:
        """The step cut at its marks. listed: sites that have turns; others' belong to the turn they fall in."""
        turns: Turns = {}
        alive = 0
        for i, key, begin, end, gradients in self._cuts(listed):
            if self.sizes:
                top = max(self.sizes[begin:end], default=alive)
                top = max(top, alive)
                alive = self.sizes[end - 1] if end > begin else alive
            else:
                top = self.marks[i + 1].peak_before if i + 1 < len(self.marks) else 0
            known = turns.get(key, Turn(0, -(2**62)))
            turn = replace(known, fresh=max(known.fresh, top), later=max(known.later, top - gradients))
            row_sum = self.sums.get(i)
            if row_sum is not None and (known.sum is None or row_sum.num_elements > known.sum.num_elements):
                turn = replace(turn, sum=row_sum, later_sum=row_sum.alive - gradients)
            turns[key] = turn
        return turns


def held_until(order: Iterable[str], held: Mapping[str, int]) -> dict[str, int]:
    """Site -> bytes that sites hold up to and including it. order: sites in forward order."""
    total, totals = 0, {}
    for site in order:
        total += held.get(site, 0)
        totals[site] = total
    return totals


def segments(
    batches: tuple[int, int], steps: Sequence[Turns], held: Sequence[Mapping[str, int]]
) -> dict[str, tuple[Segment, ...]]:
    """Site -> its turns as lines through two batches. held: site -> bytes that sites hold up to and including it.

    A third step is of one sample alone.
    """
    lines: dict[str, list[Segment]] = {}
    for phase in (FORWARD, BACKWARD):
        for key in steps[0]:
            if key[0] != phase or any(key not in step for step in steps):
                continue
            site = key[1]
            fresh = [step[key].fresh - of.get(site, 0) for step, of in zip(steps, held, strict=True)]
            later = [step[key].later - of.get(site, 0) for step, of in zip(steps, held, strict=True)]
            alone = (later[2], fresh[2]) if len(steps) > 2 else (None, None)
            turn = Segment(*line(batches, later), *line(batches, fresh), *alone)
            lines.setdefault(site, []).append(replace(turn, is_backward=phase == BACKWARD))
            sums = [step[key].sum for step in steps[:2]]
            if sums[0] is not None and sums[1] is not None:
                alive = [s.alive - of.get(site, 0) for s, of in zip(sums, held, strict=False) if s is not None]
                later = [step[key].later_sum - of.get(site, 0) for step, of in zip(steps[:2], held, strict=False)]
                turn = Segment(*line(batches, later), *line(batches, alive), is_backward=phase == BACKWARD)
                lines[site].append(replace(turn, sum_rows=sums[1].rows, sum_columns=sums[1].columns))
    return {site: tuple(of) for site, of in lines.items()}


def chunked(
    segments_of: Mapping[str, tuple[Segment, ...]], batch: int, runs: Mapping[int, tuple[Turns, Mapping[str, int]]]
) -> dict[str, tuple[Segment, ...]]:
    """Segments with what a further sample of a chunk takes in their pass.

    runs: samples of a chunk -> the turns of `batch` samples in chunks of so many, and what sites hold in them.
    """
    grown: dict[str, tuple[Segment, ...]] = {}
    for site, segments_ in segments_of.items():
        of_pass = {}
        for phase in (FORWARD, BACKWARD):
            own = [segment.at(batch, True) for segment in segments_ if segment.is_backward == (phase == BACKWARD)]
            tops = {1: max(own)} if own else {}
            for chunk, (turns, held) in runs.items():
                if own and (phase, site) in turns:
                    tops[chunk] = turns[phase, site].fresh - held.get(site, 0)
            of_pass[phase == BACKWARD] = chunk_slope(tops)
        grown[site] = tuple(replace(s, chunk_bytes=of_pass[s.is_backward]) for s in segments_)
    return grown


def chunk_slope(tops: Mapping[int, int]) -> int:
    """Bytes a further sample of a chunk takes. tops: samples of a chunk -> bytes.

    The steepest of the slopes to the largest chunk, from the smallest one and from the one before it, and of the slope
    between these two: all samples as one chunk put no outputs together. A first slope more than MOST_BEND times the
    mean one is taken for a jump: convolutions of one sample take other paths.
    """
    if len(tops) < 2:
        return 0
    chunks = sorted(tops)
    first, before, last = chunks[0], chunks[-2], chunks[-1]
    slopes = [(tops[last] - tops[chunk]) / (last - chunk) for chunk in (first, before)]
    bend = (tops[before] - tops[first]) / (before - first) if before > first else 0.0
    if bend <= MOST_BEND * slopes[0]:
        slopes.append(bend)
    return ceil(max(0.0, *slopes))


def with_moments(
    batches: tuple[int, int],
    segments_of: Mapping[str, tuple[Segment, ...]],
    traces: Sequence[Trace],
    held: Sequence[Mapping[str, int]],
) -> dict[str, tuple[Segment, ...]]:  # fmt: skip
    """Segments with every moment of a turn that may be its worst one at larger batches than the two measured.

    A turn's worst moment at a few samples is seldom the one at many: a frozen stem is one long turn, and a coded weight
    is decoded, whole, before anything grows with the samples. held: as for `segments`.
    """
    small, large = (trace.moments(held[0]) for trace in traces[:2])
    followed = {}
    for site, own in segments_of.items():
        more: list[Segment] = []
        for turn in own:
            pair = [of.get((BACKWARD if turn.is_backward else FORWARD, site), []) for of in (small, large)]
            if turn.sum_rows or not pair[0] or len(pair[0]) != len(pair[1]):
                continue
            rest = [of.get(site, 0) for of in held[:2]]
            lines = [
                [line(batches, [at[k] - of for at, of in zip(event, rest, strict=True)]) for k in (0, 1)]
                for event in zip(*pair, strict=True)
            ]
            worst = [_envelope({of[k] for of in lines}) for k in (0, 1)]
            alone = turn.one_bytes, turn.fresh_one_bytes
            more += [
                Segment(*later, *fresh, *alone, is_backward=turn.is_backward)
                for later, fresh in dict.fromkeys(map(tuple, lines))
                if later in worst[0] or fresh in worst[1]
            ]
        followed[site] = upper_segments((*own, *more))
    return followed


def upper_lines(batches: tuple[int, int], steps: Sequence[Turns]) -> list[tuple[int, int]]:
    """(fixed, per sample) of a step's turns at two batches, those that are the worst ones at some larger batch."""
    return _envelope(
        {line(batches, [step[key].fresh for step in steps]) for key in steps[0] if all(key in s for s in steps)}
    )


def _envelope(lines: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those (fixed, per sample) that no other one is above of from some batch on, steepest first."""
    hull: list[tuple[int, int]] = []
    for fixed, slope in sorted(lines, key=lambda item: (-item[1], -item[0])):
        if all(fixed > other for other, _ in hull):
            hull.append((fixed, slope))
    return hull


def line(batches: tuple[int, int], sizes: Sequence[int]) -> tuple[int, int]:
    """(constant, slope) through two measured batches; a falling line is flat, one batch alone grows from nothing."""
    slope = max(per_sample(batches, sizes), 0.0)
    return round(sizes[1] - slope * batches[1]), round(slope)


def per_sample(batches: tuple[int, int], values: Sequence[float]) -> float:
    """What one more sample adds, by two measured batches; of one batch alone all of it is the samples'."""
    few, many = batches
    return values[1] / many if few == many else (values[1] - values[0]) / (many - few)


def two_batches(samples: int) -> tuple[int, int]:
    """The two batches that lines go through; one sample only where there are no more than two. Of one it is twice."""
    return (1, samples) if samples <= 2 else (min(max(samples // 2, 2), samples - 1), samples)


def upper_segments(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Without those that another one of the same pass is above of everywhere; the first of several alike stays."""
    upper: list[Segment] = []
    for segment in segments:
        if not any(_is_above(other, segment) for other in upper):
            upper = [*(other for other in upper if not _is_above(segment, other)), segment]
    return tuple(upper)


def _is_above(a: Segment, b: Segment) -> bool:
    if a.is_backward != b.is_backward or a.sum_rows * a.sum_columns < b.sum_rows * b.sum_columns:
        return False
    return all(a.at(n, is_fresh) >= b.at(n, is_fresh) for n in (1, 2, 10**6) for is_fresh in (True, False))
