"""AdamW with its moments in fp32 (torch) or as blocks of 8-bit codes (bitsandbytes; Dettmers et al., 2110.02861)."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from s2a_core.errors import InvalidInput
from s2a_core.profiling.types import OptimizerCost
from s2a_core.storage import Optimizer

# bitsandbytes' own: smaller weights have moments in fp32; codes that share a scale; two tables of 256 values.
SMALLEST_CODED, BLOCK, TABLES_BYTES = 4096, 256, 2 * 4 * 256
# fp32 temporaries of one weight's update on CPU, measured: both moments, the gradient, the weight and a denominator.
CPU_STEP_BYTES = 20


def make_adamw(name: Optimizer, groups: Iterable[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """The optimizer over groups of parameters. Raises InvalidInput where bitsandbytes is needed and not there.

    AdamW on CUDA is torch's fused one: its step takes nothing beside the weights, where stock's choice takes as many
    bytes as all of them (`adamw_step_bytes`).
    """
    groups = list(groups)
    if name == "adamw":
        is_on_cuda = all(p.is_cuda for group in groups for p in group["params"])
        return torch.optim.AdamW(groups, lr=lr, fused=True if is_on_cuda else None)
    made: torch.optim.Optimizer = _library().AdamW8bit(groups, lr=lr)
    return made


def adamw_step_bytes(trained: Sequence[Tensor]) -> int:
    """Temporaries of a step of adamw: two tensors of the largest parameter on a CPU, on CUDA none."""
    return max((2 * p.numel() * p.element_size() for p in trained if not p.is_cuda), default=0)


def open_gradients(optimizer: torch.optim.Optimizer, num_parts: int) -> None:
    """Empty gradients before a step of several micro-batches on CUDA; they take what the step's last backward takes.

    Made by the first backward pass they would lie between its activations, and the pages they pin stay half empty: of
    ResNet-18's full fine-tuning the allocator then reserves 45 MiB beyond the bytes alive, with this 20 MiB
    (measured on a device without silicon, tests/fakegpu).
    """
    if num_parts > 1:
        for parameter in (p for group in optimizer.param_groups for p in group["params"] if p.is_cuda):
            parameter.grad = torch.zeros_like(parameter)


def step_in_backward(
    parameters: Iterable[nn.Parameter], make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
) -> list[torch.optim.Optimizer]:
    """An optimizer for each trained parameter that steps and frees its gradient as soon as backward has it.

    The whole gradient, 4 bytes a weight, is then never there: of ViT-H 2.4 GiB. For a loop of your own whose step is
    one backward pass; the gradient's norm cannot be clipped, and a loss must be judged before its backward pass.
    Returns the optimizers, whose rates may be changed between steps.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimizers = [make([parameter]) for parameter in trained]
    for parameter, optimizer in zip(trained, optimizers, strict=True):
        parameter.register_post_accumulate_grad_hook(_stepper(optimizer))
    return optimizers


def _stepper(optimizer: torch.optim.Optimizer) -> Callable[[Tensor], None]:
    def step(parameter: Tensor) -> None:
        optimizer.step()
        parameter.grad = None

    return step


def require_optimizer(name: Optimizer | None) -> None:
    """Raises InvalidInput where an optimizer's library is not there: before anything is loaded."""
    if name not in (None, "adamw"):
        _library()


def coded_cost(trained: Sequence[Tensor]) -> OptimizerCost:
    """Bytes that adamw8bit keeps for these weights, and takes in its step: one weight at a time; on CUDA in place."""
    sizes = [p.numel() for p in trained]
    coded = [n for n in sizes if n >= SMALLEST_CODED]
    state = sum(8 * n for n in sizes if n < SMALLEST_CODED)
    state += sum(2 * (n + 4 * -(-n // BLOCK)) for n in coded) + (TABLES_BYTES if coded else 0)
    is_on_cpu = any(not p.is_cuda for p in trained)
    return OptimizerCost(state, CPU_STEP_BYTES * max(sizes, default=0) if is_on_cpu else 0)


def _library() -> Any:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of products in 4 bits that nobody asked for
    try:
        return importlib.import_module("bitsandbytes.optim")
    except ImportError as error:
        raise InvalidInput(
            f"adamw8bit needs bitsandbytes ({error}): pip install 's2a[optimizers]', or use adamw"
        ) from error
