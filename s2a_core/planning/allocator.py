"""What PyTorch's CUDA caching allocator reserves for a trace of allocations. Imports no torch.

The native backend with default settings (c10/cuda/CUDACachingAllocator.cpp, torch 2.11 to 2.14): sizes are rounded up
to 512 B; requests up to 1 MiB come from segments of 2 MiB, requests below 10 MiB from segments of 20 MiB, larger ones
get a segment of their own rounded up to 2 MiB. The smallest free block that is large enough is used (best fit); it is
split where the rest is at least 512 B in a small pool, more than 1 MiB in a large one. Freed neighbours merge.
Segments are kept. expandable_segments and garbage collection are not modelled.
Tested on made-up traces; no trace of a GPU was at hand.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

KIB, MIB = 2**10, 2**20
ROUND = 512  # kMinBlockSize
SMALL_REQUEST = 1 * MIB  # kSmallSize
SMALL_SEGMENT = 2 * MIB  # kSmallBuffer
LARGE_REQUEST = 10 * MIB  # kMinLargeAlloc
LARGE_SEGMENT = 20 * MIB  # kLargeBuffer
LARGE_ROUND = 2 * MIB  # kRoundLarge


@dataclass(eq=False)
class _Block:
    size: int
    segment: int
    offset: int
    before: _Block | None = None
    after: _Block | None = None
    is_free: bool = True


@dataclass(frozen=True)
class Reserved:
    """Maxima over a trace, in bytes. allocated: of rounded sizes; reserved: of segments."""

    allocated: int
    reserved: int


class CachingAllocator:
    """One stream of the allocator. `allocated` and `reserved` are the bytes now; `peak` holds their maxima."""

    def __init__(self) -> None:
        self.allocated = self.reserved = 0
        self.peak = Reserved(0, 0)
        self._free: dict[bool, list[tuple[int, int, int, _Block]]] = {True: [], False: []}
        self._num_segments = 0

    def allocate(self, num_bytes: int) -> _Block:
        """A block for a request of `num_bytes` > 0."""
        size = round_up(max(num_bytes, 1), ROUND)
        is_small = size <= SMALL_REQUEST
        pool = self._free[is_small]
        found = next((i for i, entry in enumerate(pool) if entry[0] >= size), None)
        block = self._segment(size) if found is None else pool.pop(found)[3]
        rest = block.size - size
        if rest >= ROUND if is_small else rest > SMALL_REQUEST:
            other = _Block(rest, block.segment, block.offset + size, block, block.after)
            if block.after is not None:
                block.after.before = other
            block.after, block.size = other, size
            self._keep(other, is_small)
        block.is_free = False
        self.allocated += block.size
        self.peak = Reserved(max(self.peak.allocated, self.allocated), max(self.peak.reserved, self.reserved))
        return block

    def free(self, block: _Block, num_bytes: int) -> None:
        """Gives a block back that a request of `num_bytes` got."""
        is_small = round_up(max(num_bytes, 1), ROUND) <= SMALL_REQUEST
        self.allocated -= block.size
        block.is_free = True
        for other in (block.before, block.after):
            if other is not None and other.is_free:
                self._free[is_small].remove(_entry(other))
                first, second = (other, block) if other is block.before else (block, other)
                first.size += second.size
                first.after = second.after
                if second.after is not None:
                    second.after.before = first
                block = first
        self._keep(block, is_small)

    def _segment(self, size: int) -> _Block:
        total = segment_bytes(size)
        self.reserved += total
        self._num_segments += 1
        return _Block(total, self._num_segments, 0)

    def _keep(self, block: _Block, is_small: bool) -> None:
        block.is_free = True
        insort(self._free[is_small], _entry(block), key=lambda entry: entry[:3])


def _entry(block: _Block) -> tuple[int, int, int, _Block]:
    return block.size, block.segment, block.offset, block


def segment_bytes(size: int) -> int:
    """Bytes asked of the driver for a rounded request."""
    if size <= SMALL_REQUEST:
        return SMALL_SEGMENT
    return LARGE_SEGMENT if size < LARGE_REQUEST else round_up(size, LARGE_ROUND)


def round_up(size: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-size // step) * step


def simulate(trace: Iterable[tuple[int, int]]) -> Reserved:
    """Maxima of a trace of (tensor id, bytes): positive bytes allocate, zero or negative free that tensor."""
    allocator = CachingAllocator()
    alive: dict[int, tuple[_Block, int]] = {}
    for tensor, num_bytes in trace:
        if num_bytes > 0:
            alive[tensor] = allocator.allocate(num_bytes), num_bytes
        elif tensor in alive:
            allocator.free(*alive.pop(tensor))
    return allocator.peak
