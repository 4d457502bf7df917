"""Which modules of a model a session must watch: learned in one forward pass, used in the later ones like it.

A module is watched where a call of its own is stored otherwise than stock does, or must not run as the model wrote it:
a norm worth deferring, an in-place change of what a pending norm reads, operands in dtypes that stock does not take
together. The calls of every other module run as if there were no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from s2a_core.compression.prepared import PreparedCall

PassKey = tuple[Any, ...]
_KINDS = ("cpu", "cuda")
MOST_PASSES = 64  # kinds of forward passes that are remembered: sizes that keep changing end somewhere


@dataclass(eq=False)
class WatchedModules:
    """What one forward pass showed.

    paths: modules to watch; deferred: sites of norms that are worth deferring; callers: module -> who called it.
    prepared: module -> its one call, as the first such pass after that made it; None where it must be looked at.
    """

    paths: set[str] = field(default_factory=set)
    deferred: set[str] = field(default_factory=set)
    callers: dict[str, set[str]] = field(default_factory=dict)
    prepared: dict[str, PreparedCall | None] = field(default_factory=dict)

    def norm_waited(self, site: str) -> None:
        """Something ran between a norm and its evaluation, or in its place: it is deferred again."""
        self.deferred.add(site)
        self.paths.add(site.rpartition(":")[0])


def pass_key(args: Iterable[Any], is_training: bool) -> PassKey | None:
    """What the calls of a forward pass depend on, beside the model or module; None where that cannot be told.

    args: its inputs. Their tensors count by shape, dtype and device, other values as they are.
    """
    described: list[Any] = [is_training, torch.is_grad_enabled()]
    described += [(kind, torch.get_autocast_dtype(kind)) for kind in _KINDS if torch.is_autocast_enabled(kind)]
    return tuple(described) if _describe(args, described) else None


def _describe(values: Iterable[Any], described: list[Any]) -> bool:
    """Adds what tells values apart; False where one is neither a tensor nor a plain value nor a nest of them."""
    for value in values:
        if type(value) is Tensor:
            described.append((value.shape, value.dtype, value.device, value.requires_grad))
        elif value is None or isinstance(value, bool | int | float | str):
            described.append((type(value), value))
        elif type(value) in (tuple, list):
            described.append((type(value), len(value)))
            if not _describe(value, described):
                return False
        elif isinstance(value, Mapping):
            described.append((type(value), tuple(value)))
            if not _describe(value.values(), described):
                return False
        else:
            return False
    return True
