"""Checkpoints of a training run: written in one step, continued to the bit."""

from __future__ import annotations

import ast
import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2a_core.errors import InvalidInput
from s2a_core.outputs.atomic import replacing
from s2a_core.planning.types import Plan

NAME = "checkpoint.pt"


def run_identity(plan: Plan, recipe: Mapping[str, Any], data: str) -> str:
    """What a checkpoint has to be of: the plan's model and batch, the recipe but for its rate, the data."""
    changeable = dict.fromkeys(("resume", "checkpoint_s", "lr"))
    lasting = {name: value for name, value in recipe.items() if name != "workers"}  # who reads changes no pixel
    codes = [] if plan.optimizer == "adamw" else [plan.optimizer]  # its state is no other's
    marks = [plan.fingerprint, plan.batch_size, {**lasting, **changeable}, data, *codes]
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()


def generator_states(device: torch.device | str = "cpu") -> dict[str, Any]:
    """States of torch's, Python's and numpy's generators, as tensors and plain values, with that of a CUDA device."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    states = {
        "torch": torch.from_numpy(torch.get_rng_state().numpy().copy()),  # is kept over a step
        "python": repr(random.getstate()),
        "numpy": [
            kind,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
    }
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if torch.device(device).type == "cuda" else {})


def save_checkpoint(
    directory: Path,
    state: dict[str, Any],
    generators: dict[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Write `state` (tensors and plain values) with generators' states; a reader sees the old file or this one.

    generators: those of an earlier moment; as they are where not given. device: the one that trains.
    """
    with replacing(directory / NAME) as part:
        torch.save({**state, "generators": generators or generator_states(device)}, part)


def load_checkpoint(directory: Path, identity: str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The last checkpoint with generators restored, or None. Raises InvalidInput if it is another run's or damaged.

    device: the one that trains; its generator goes on where that of any CUDA device was.
    """
    path = directory / NAME
    for part in directory.glob(f".{NAME}.*.part"):  # of a writer that was killed
        part.unlink(missing_ok=True)
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost any type on damaged input
        raise InvalidInput(f"{path} cannot be read ({error}); delete it to train from the beginning") from error
    if state.get("identity") != identity:
        raise InvalidInput(f"{path} belongs to another run (other model, data, batch or recipe): use another --output")
    generators = state["generators"]
    torch.set_rng_state(generators["torch"])
    random.setstate(ast.literal_eval(generators["python"]))
    kind, keys, position, has_gauss, cached = generators["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    if "cuda" in generators and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(generators["cuda"], device)
    return state


def drop_checkpoint(directory: Path) -> None:
    """Remove the checkpoint of a run that is finished."""
    (directory / NAME).unlink(missing_ok=True)
