"""What an upload of weights holds: its safetensors header is read; no tensor is loaded, and nothing of it can run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from s2a_core.errors import BadDataset

MAX_HEADER = 100 * 10**6  # bytes; what the format allows


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of the header, eight bytes, then its JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MAX_HEADER


def summary_of(path: Path) -> dict[str, Any]:
    """{contents, num_tensors, num_parameters, dtypes}. Raises BadDataset for a file that is cut off or empty."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise BadDataset("weights", [f"is no whole safetensors file: {error}"]) from error
    if not slices:
        raise BadDataset("weights", ["the file has no tensors"])
    return {
        "contents": "weights",
        "num_tensors": len(slices),
        "num_parameters": sum(math.prod(part.get_shape()) for part in slices),
        "dtypes": sorted({str(part.get_dtype()) for part in slices}),
    }
