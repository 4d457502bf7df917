"""Amounts of memory: reading `4GiB` and writing bytes for people (MiB = 2^20)."""

from __future__ import annotations

import re
from math import ceil

MIB = 2**20
# What every door says a budget is, and nothing else.
BUDGET_MEANS = (
    "On CUDA that is all the process holds of the device, as nvidia-smi shows it, its context included; on a CPU the "
    "tensors alive."
)
_UNITS = {
    "": 1,
    "B": 1,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_PATTERN = re.compile(r"\s*((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(text: str | int) -> int:
    """Bytes from `4GiB`, `4g`, `4096MiB`, `1,024 MiB`, `4GB`, `1.5GiB` or a plain number of bytes.

    Raises BadBudget for anything else, and for amounts that are not positive.
    """
    from s2a_core.errors import BadBudget

    match = _PATTERN.fullmatch(str(text))
    unit = _UNITS.get(match.group(2).upper()) if match else None
    if match is None or unit is None:
        raise BadBudget(
            f"cannot read {text!r} as an amount of memory; write 4GiB, 4096MiB, 4GB or a number of bytes",
            details={"value": str(text), "units": [u for u in _UNITS if u]},
        )
    number = match.group(1).replace(",", "")
    amount = int(float(number) * unit) if "." in number else int(number) * unit
    if amount <= 0:
        raise BadBudget(f"the amount of memory must be positive, not {text!r}", details={"value": str(text)})
    return amount


def format_bytes(num_bytes: int) -> str:
    """`1,024 MiB` for people; below one MiB in KiB, below one KiB in bytes."""
    if abs(num_bytes) >= 10 * 2**20:
        return f"{num_bytes / 2**20:,.0f} MiB"
    if abs(num_bytes) >= 2**20:
        return f"{num_bytes / 2**20:.1f} MiB"
    if abs(num_bytes) >= 2**10:
        return f"{num_bytes / 2**10:.0f} KiB"
    return f"{num_bytes} B"


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
