"""Checkpoints of a training run: written in one step, continued to the bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2a_core.errors import InvalidInput
from s2a_core.outputs.atomic import replacing

NAME = "checkpoint.pt"


def save_checkpoint(directory: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) with the generators' states; a reader sees the old file or this one."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    generators = {
        "torch": torch.get_rng_state(),
        "python": repr(random.getstate()),
        "numpy": [
            kind,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
    }
    with replacing(directory / NAME) as part:
        torch.save({**state, "generators": generators}, part)


def load_checkpoint(directory: Path, identity: str) -> dict[str, Any] | None:
    """The last checkpoint with generators restored, or None. Raises InvalidInput if it is another run's."""
    path = directory / NAME
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if state.get("identity") != identity:
        raise InvalidInput(f"{path} belongs to another run (other model, data, plan or seed); use another --output")
    import ast

    generators = state["generators"]
    torch.set_rng_state(generators["torch"])
    random.setstate(ast.literal_eval(generators["python"]))
    kind, keys, position, has_gauss, cached = generators["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    return state


def drop_checkpoint(directory: Path) -> None:
    """Remove the checkpoint of a run that is finished."""
    (directory / NAME).unlink(missing_ok=True)
