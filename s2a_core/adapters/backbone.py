"""A model while adapters are put on it: its head, blocks and layers, found by structure and one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn

from s2a_core.adapters.blocks import Place, called, places
from s2a_core.adapters.head import FOUND, head_modules, parameter_names
from s2a_core.errors import BadAdapter

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


class Backbone:
    """The model that a kind attaches to. inputs: makes what one forward pass takes; asked only where one is needed."""

    def __init__(self, model: nn.Module, inputs: Callable[[], Any], head: str | Sequence[str] | None = FOUND) -> None:
        self.model, self._inputs = model, inputs
        self.head_modules = head_modules(model, head)
        self.head_parameters = parameter_names(model, self.head_modules)

    @cached_property
    def places(self) -> list[Place]:
        """The repeated blocks that take one tensor and give one, in the order they run."""
        return places(self.model, self._inputs())

    def required_places(self, kind: str) -> list[Place]:
        """As `places`. Raises BadAdapter where there are none."""
        if not self.places:
            raise BadAdapter(
                f"{kind} needs a model with repeated blocks over tokens or maps; this one has none: use bias"
            )
        return self.places

    def called(self, modules: Iterable[nn.Module]) -> set[nn.Module]:
        """Those that a forward pass calls; of others the model reads the weights alone."""
        return called(self.model, modules, self._inputs())

    def norms(self) -> Iterator[nn.Module]:
        """The normalisation layers."""
        return (module for module in self.model.modules() if isinstance(module, NORMS))

    def add(self, owner: nn.Module, name: str, adapter: nn.Module) -> None:
        """Register trained modules on a part of the model, where its weights are."""
        reference = next(owner.parameters(), next(self.model.parameters()))
        owner.add_module(name, adapter.to(reference.device, torch.float32))
