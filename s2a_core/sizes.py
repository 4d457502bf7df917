"""Amounts of memory for people (MiB = 2^20)."""

from __future__ import annotations

from math import ceil

MIB = 2**20
GIB_HOUR = 2**30 * 3600  # byte-seconds
# What every door says a budget is, and nothing else.
BUDGET_MEANS = (
    "On CUDA that is all the process holds of the device, as nvidia-smi shows it, its context included; on a CPU the "
    "tensors alive."
)


def format_bytes(num_bytes: int) -> str:
    """`1,024 MiB` for people; below one MiB in KiB, below one KiB in bytes."""
    if abs(num_bytes) >= 10 * 2**20:
        return f"{num_bytes / 2**20:,.0f} MiB"
    if abs(num_bytes) >= 2**20:
        return f"{num_bytes / 2**20:.1f} MiB"
    if abs(num_bytes) >= 2**10:
        return f"{num_bytes / 2**10:.0f} KiB"
    return f"{num_bytes} B"


def gib_hours(byte_seconds: float) -> str:
    """Byte-seconds in GiB times hours, as a number."""
    return f"{byte_seconds / GIB_HOUR:,.4g}"


def format_at_least(num_bytes: int) -> str:
    """As `format_bytes`, rounded up: typed back as a budget it is never less than what was meant."""
    for least, step in ((10 * 2**20, 2**20), (2**20, 2**20 / 10), (2**10, 2**10)):
        if num_bytes >= least:
            return format_bytes(ceil(ceil(num_bytes / step) * step))
    return format_bytes(num_bytes)


def format_apart(less: int, more: int) -> tuple[str, str]:
    """A budget and a larger one that is needed, with as many digits as tell them apart; `more` is rounded up."""
    if format_bytes(less) != format_at_least(more):
        return format_bytes(less), format_at_least(more)
    for digits in (1, 2, 3):
        up = ceil(more / 2**20 * 10**digits) / 10**digits
        texts = f"{less / 2**20:,.{digits}f} MiB", f"{up:,.{digits}f} MiB"
        if texts[0] != texts[1]:
            return texts
    return f"{less} B", f"{more} B"
