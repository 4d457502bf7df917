"""A model while adapters are put on it: its head, blocks and layers, found by structure and one forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from s2a_core.adapters.blocks import Place, called, places
from s2a_core.adapters.head import FOUND, head_modules, parameter_names
from s2a_core.adapters.mlps import Span, mlps
from s2a_core.batches import Samples
from s2a_core.errors import BadAdapter

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


class Backbone:
    """The model that a kind attaches to. inputs: makes what one forward pass takes; asked only where one is needed."""

    def __init__(
        self, model: nn.Module, inputs: Callable[[], Tensor | Samples], head: str | Sequence[str] | None = FOUND
    ) -> None:
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

    def plain_layers(self) -> list[nn.Linear | nn.Conv2d]:
        """Linear layers and convolutions outside the head whose output is the product with their own weight.

        Not those that normalise their weight first, share it with another layer, or whose weight alone is read.
        """
        head = {id(module) for owner in self.head_modules for module in owner.modules()}
        uses = Counter(id(p) for m in self.model.modules() for p in m.parameters(recurse=False))
        layers = [
            module for name, module in self.model.named_modules()
            if isinstance(module, (nn.Linear, nn.Conv2d)) and not hasattr(module, "eps")  # timm's ScaledStdConv2d
            and id(module) not in head and uses[id(module.weight)] == 1 and "s2a_" not in name
        ]  # fmt: skip
        reached = self.called(layers)
        return [layer for layer in layers if layer in reached]

    def mlps(self) -> list[Span]:
        """Pairs of a layer that widens and the next that narrows back to the same shape, inside one repeated block."""
        return mlps(self.model, self._inputs())

    def norms(self) -> Iterator[nn.Module]:
        """The normalisation layers."""
        return (module for module in self.model.modules() if isinstance(module, NORMS))

    def add(self, owner: nn.Module, name: str, adapter: nn.Module) -> None:
        """Register trained modules on a part of the model, where its weights are."""
        reference = next(owner.parameters(), next(self.model.parameters()))
        owner.add_module(name, adapter.to(reference.device, torch.float32))
