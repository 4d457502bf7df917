"""Looking at every image before training: unreadable files, duplicates across splits, sizes and colours."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low

from s2a_core.datasets.images import ImageFacts, Ranges, UnreadableImage, check_image, common_ranges
from s2a_core.datasets.types import Sample

# Up to this many bytes of files every image is decoded in full; above, headers and file ends are checked.
DECODE_LIMIT_BYTES = 1 * 2**30
# Files of which the first and last bytes are read when a dataset is too large to decode.
_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}


@dataclass
class Inspection:
    """What looking at the files gave. groups: sample name -> number of its group of equal files (size 2 or more)."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sides: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""


def inspect_samples(samples: Sequence[Sample]) -> Inspection:
    """Check every sample; problems are `name: reason`, in the order of the samples."""
    sizes = [len(s.source) if isinstance(s.source, bytes) else _file_size(s.source) for s in samples]
    decode = sum(sizes) <= DECODE_LIMIT_BYTES
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(_check, samples, sizes, [decode] * len(samples), chunksize=64))
    inspection = Inspection()
    facts: list[ImageFacts] = []
    for sample, result in zip(samples, results, strict=True):
        if isinstance(result, str):
            inspection.problems.append(f"{sample.name}: {result}")
        else:
            facts.append(result)
    inspection.groups = _equal_files(samples, sizes)
    inspection.modes = dict(Counter(fact.mode for fact in facts).most_common())
    inspection.sides = _sides(facts)
    inspection.ranges = common_ranges(fact.values for fact in facts if fact.values is not None)
    inspection.warnings = _remarks(facts, inspection.ranges)
    inspection.fingerprint = _fingerprint(samples, sizes)
    return inspection


def _check(sample: Sample, size: int, decode: bool) -> ImageFacts | str:
    """Facts, or the reason why the sample cannot be used."""
    if size == 0:
        return "is empty (0 bytes)"
    try:
        facts = check_image(sample.source, decode=decode)
        if not decode and isinstance(sample.source, Path) and not _is_whole(sample.source):
            return "is cut off (the end of the file is missing)"
        return facts
    except UnreadableImage as error:
        return str(error)


def _is_whole(path: Path) -> bool:
    """False where a JPEG or PNG lacks its last marker. Raises UnreadableImage where it has one and is cut off even so.

    A marker far from the end stands before other data (a film behind a photo) or ends a preview: decoding tells.
    """
    with path.open("rb") as file:
        ending = _ENDINGS.get(file.read(2))
        if ending is None:
            return True
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        if ending in file.read():
            return True
        file.seek(0)
        if ending not in file.read():
            return False
    check_image(path)
    return True


def _equal_files(samples: Sequence[Sample], sizes: Sequence[int]) -> dict[str, int]:
    """Groups of files with equal content; only files of equal size are read."""
    by_size: dict[int, list[Sample]] = defaultdict(list)
    for sample, size in zip(samples, sizes, strict=True):
        if size:
            by_size[size].append(sample)
    by_content: dict[bytes, list[Sample]] = defaultdict(list)
    for alike in by_size.values():
        if len(alike) > 1:
            for sample in alike:
                by_content[_digest(sample)].append(sample)
    groups = [group for group in by_content.values() if len(group) > 1]
    return {sample.name: number for number, group in enumerate(groups) for sample in group}


def _digest(sample: Sample) -> bytes:
    try:
        content = sample.source if isinstance(sample.source, bytes) else sample.source.read_bytes()
    except OSError:
        content = sample.name.encode()
    return hashlib.blake2b(content, digest_size=16).digest()


def _fingerprint(samples: Sequence[Sample], sizes: Sequence[int]) -> str:
    """Changes when a file is added, removed, renamed, moved to another class or changes its size."""
    digest = hashlib.sha256()
    for line in sorted(f"{s.name}\0{s.label}\0{size}" for s, size in zip(samples, sizes, strict=True)):
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sides(facts: Sequence[ImageFacts]) -> dict[str, int]:
    if not facts:
        return {}
    shorter = [min(fact.width, fact.height) for fact in facts]
    return {
        "min": min(shorter),
        "median": median_low(shorter),
        "max": max(max(fact.width, fact.height) for fact in facts),
    }


def _remarks(facts: Sequence[ImageFacts], ranges: Ranges) -> list[str]:
    remarks = []
    if animated := sum(fact.num_frames > 1 for fact in facts):
        remarks.append(f"{animated} file(s) hold several frames: the first is used")
    for kind, (low, high) in sorted(ranges.items()):
        deep = sum(fact.values is not None and fact.values[0] == kind for fact in facts)
        remarks.append(f"{deep} file(s) hold {kind} values of more than 8 bits: {low:g} to {high:g} become 0 to 255")
    if cut := sum(fact.is_cut for fact in facts):
        remarks.append(
            f"{cut} file(s) hold 16-bit colours in a format of which the upper 8 bits are read: dark ones "
            "become black; save them as 16-bit PNG"
        )
    if tiny := sum(min(fact.width, fact.height) < 8 for fact in facts):
        remarks.append(f"{tiny} image(s) are less than 8 pixels wide or high")
    return remarks
