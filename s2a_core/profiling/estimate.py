"""The peak of a step without running it: every tensor that operators would make, as shapes only (FakeTensorMode).

A device is not touched. Sums are those of live storages rounded to 512 bytes, as PyTorch's allocator hands them out;
what libraries take inside an operator is not seen. Right to a few percent, which is enough for what is only compared.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from s2a_core.batches import Loss, Samples, loss_of

ROUNDING = 512  # of PyTorch's CUDA allocator


class LivePeak(TorchDispatchMode):
    """Most bytes of storages alive at once that operators made inside the block. owned: tensors that do not count."""

    def __init__(self, owned: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now_bytes = self.peak_bytes = 0
        self._sizes: dict[int, int] = {tensor.untyped_storage()._cdata: 0 for tensor in owned}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = -(-storage.nbytes() // ROUNDING) * ROUNDING
            self.now_bytes += self._sizes[key]
            self.peak_bytes = max(self.peak_bytes, self.now_bytes)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now_bytes -= self._sizes.pop(key, 0)


def shapes_of(model: nn.Module, build: Callable[[nn.Module], nn.Module | None]) -> tuple[FakeTensorMode, Any]:
    """What `build` makes of a copy of the model that has shapes but no values, in fp32, and the mode it runs in."""
    device = next(model.parameters()).device
    memo: dict[int, Any] = {id(b): torch.empty_like(b, device="meta") for b in model.buffers()}
    for parameter in model.parameters():
        shape = torch.empty_like(parameter, device="meta", dtype=torch.float32)
        memo[id(parameter)] = nn.Parameter(shape, parameter.requires_grad)
    other = build(copy.deepcopy(model, memo))
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        for module in () if other is None else other.modules():
            for name, own in list(module._parameters.items()):
                if own is not None:
                    values = torch.empty(own.shape, device=device)
                    module._parameters[name] = nn.Parameter(values, own.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty_like(buffer, device=device)
    return mode, other


def estimated_peak(
    mode: FakeTensorMode, model: nn.Module, samples: int, x: Tensor, precision: str, y: Tensor | Samples | None = None
) -> int:
    """Bytes above weights and input of a forward and backward pass of `samples` images like x [B, 3, H, W].

    y: targets like theirs, with their loss; classes with cross-entropy where they bring none.
    """
    loss: Loss = loss_of
    known = y
    if isinstance(y, Samples):
        known, loss = y.value, y.loss or loss_of
    shape, dtype = (known.shape[1:], known.dtype) if isinstance(known, Tensor) else ((), torch.long)
    with mode:
        images = torch.empty(samples, *x.shape[1:], device=x.device)
        labels = torch.zeros(samples, *shape, dtype=dtype, device=x.device)
        for parameter in model.parameters():
            parameter.grad = None
        with LivePeak((*model.parameters(), *model.buffers(), images, labels)) as live:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
                value = loss(model(images), labels)
            value.backward()
            del value
    return live.peak_bytes
