"""Sums of parameters' gradients over the chunks of a region or block, with little beside the sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

# Elements from which on a gradient is added as soon as autograd has it. `torch.autograd.grad` holds all of a chunk's
# until its end: of a block of ViT-H, trained as a whole, 75 MiB beside sums of as many. Hooks take the host's time.
LARGE = 65_536


class GradientTotals:
    """One fp32 sum for each parameter; None where no gradient has arrived.

    parameters: those whose gradients autograd makes; num_others: of which `add_chunk` alone is given some, behind them.
    """

    def __init__(self, parameters: Sequence[Tensor], num_others: int, num_chunks: int) -> None:
        self.sums: list[Tensor | None] = [None] * (len(parameters) + num_others)
        self._is_one_chunk = num_chunks < 2
        self._large = {} if self._is_one_chunk else {i: p for i, p in enumerate(parameters) if p.numel() >= LARGE}

    @contextmanager
    def adding_large(self) -> Iterator[None]:
        """Around all chunks: inside, large gradients are added and freed as soon as autograd has them."""
        handles = [parameter.register_hook(self._adder(i)) for i, parameter in self._large.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def add_chunk(self, gradients: Sequence[Tensor | None]) -> None:
        """Adds a chunk's gradients, parameters' before others', but for the large ones, which are there already."""
        for i, gradient in enumerate(gradients):
            if gradient is not None and i not in self._large:
                self._add(i, gradient)

    def _adder(self, i: int) -> Callable[[Tensor], Tensor]:
        def add(gradient: Tensor) -> Tensor:
            self._add(i, gradient)
            return gradient.new_empty(()).expand_as(gradient)  # autograd holds this one until its end

        return add

    def _add(self, i: int, gradient: Tensor) -> None:
        total = self.sums[i]
        self.sums[i] = self._own(gradient.float()) if total is None else total.add_(gradient)

    def _own(self, gradient: Tensor) -> Tensor:
        """The gradient as a sum may begin with it: a part of another tensor, or that of another parameter, is copied.

        Parameters that the module adds to each other, or to its output, have such gradients.
        """
        if self._is_one_chunk:
            return gradient
        is_part = gradient.untyped_storage().nbytes() > gradient.nbytes
        is_shared = any(total is not None and total.data_ptr() == gradient.data_ptr() for total in self.sums)
        return gradient.clone() if gradient.numel() and (is_part or is_shared) else gradient
