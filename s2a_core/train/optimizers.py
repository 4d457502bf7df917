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
ROUNDED_AT_ONCE = 1 << 20  # elements: few beside a large weight's 4 bytes each


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
    Weights in bf16 are stepped in fp32 and rounded at random (`round_at_random`), by the default generator: rounded to
    the nearest number they would not move where a step is below a 256th of a weight.
    Returns the optimizers, whose rates may be changed between steps; of weights in bf16 they hold fp32 stand-ins.
    """
    optimizers = []
    for parameter in (parameter for parameter in parameters if parameter.requires_grad):
        stand_in = parameter
        if parameter.dtype == torch.bfloat16:
            stand_in = nn.Parameter(torch.empty_like(parameter, dtype=torch.float32))
        optimizers.append(make([stand_in]))
        if stand_in is not parameter:
            stand_in.data = stand_in.new_empty(0)
        parameter.register_post_accumulate_grad_hook(_stepper(optimizers[-1], stand_in))
    return optimizers


def _stepper(optimizer: torch.optim.Optimizer, stand_in: nn.Parameter) -> Callable[[Tensor], None]:
    def step(parameter: Tensor) -> None:
        if stand_in is parameter:
            optimizer.step()
        else:
            with torch.no_grad():
                stand_in.data = parameter.to(torch.float32, memory_format=torch.contiguous_format)
                stand_in.grad = None if parameter.grad is None else parameter.grad.float()
                parameter.grad = None
                optimizer.step()
                round_at_random(stand_in, parameter)
                stand_in.grad, stand_in.data = None, stand_in.new_empty(0)
        parameter.grad = None

    return step


def round_at_random(values: Tensor, out: Tensor) -> None:
    """Writes fp32 values to a bf16 tensor: each to one of its two neighbours, so that the mean is the value.

    The 16 bits that bf16 has not decide: the bits of the value plus a number below 2^16, cut off. Changes `values`,
    which are contiguous.
    """
    bits = values.detach().view(torch.int32).view(-1)
    for part in bits.split(ROUNDED_AT_ONCE):
        part += torch.randint_like(part, 1 << 16)
        part &= -(1 << 16)
    out.copy_(values)


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
