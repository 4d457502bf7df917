"""Reading amounts of memory that people write: `4GiB`."""

from __future__ import annotations

import re

from s2a_core.errors import BadBudget

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


def exact_amount(num_bytes: int) -> str:
    """Text that `parse_bytes` reads back as it was: in the largest of GiB and MiB that takes a whole number of them."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if num_bytes and num_bytes % unit == 0:
            return f"{num_bytes // unit}{name}"
    return str(num_bytes)
