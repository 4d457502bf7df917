"""What coding each weight costs: bytes, and the error of the trainable gradient that its codes cause.

The weights themselves are gone when a model is profiled with codes. So each one's codes are moved once more by as much
as rounding moved them (`WeightCodes.shake`): what that changes is what coding has changed. (DeiT-tiny with its real
weights and photos: see docs/accuracy/gradients.md.)
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import log2, sqrt

import torch
from torch import Tensor, nn

from s2a_core.operators.narrow import NarrowWeight
from s2a_core.profiling.runs import relative_error
from s2a_core.profiling.sensitivity import share
from s2a_core.profiling.types import WeightProfile

# Of all weights together, where nothing was measured: of DeiT-tiny's gradient (docs/accuracy/gradients.md).
NOMINAL = {"int8": 0.07, "nf4": 0.5}
LEAST_SHARE = 0.01  # of the nominal error: no weight is believed to bear coding better
MOST_S = 5.0  # of a profile, for single weights; alike ones together take a few steps
STEPS_PER_DOUBLING = 4  # errors are known no better, and of equal weights a plan only has to choose how many
BF16_BYTES = 2


def coded_weights(model: nn.Module) -> dict[str, NarrowWeight]:
    """Name -> weight, of those kept as codes; not of the numbers among them."""
    weights = {name: p for name, p in model.named_parameters() if isinstance(p, NarrowWeight)}
    return {name: weight for name, weight in weights.items() if weight.codes.format != "float"}


def weight_profiles(model: nn.Module, precision: str, errors: Mapping[str, float]) -> tuple[WeightProfile, ...]:
    """The coded weights of a model; errors: measured ones, of every weight or none."""
    weights, profiles = coded_weights(model), []
    for name, weight in weights.items():
        width = BF16_BYTES if precision == "bf16" else weight.codes.dtype.itemsize
        wide_bytes = weight.codes.shape.numel() * width - weight.codes.num_bytes
        nominal = share(NOMINAL[weight.codes.format], list(weights))
        error = max(errors.get(name, nominal), LEAST_SHARE * nominal)
        profiles.append(WeightProfile(name, wide_bytes, error))
    return tuple(profiles)


def weight_errors(model: nn.Module, gradient_of: Callable[[], Tensor], seconds: float) -> dict[str, float]:
    """Name -> relative error of the gradient: of each weight, or of alike ones together where `seconds` take no more.

    gradient_of: runs a step of always the same samples. Single errors add up to that of all weights at once.
    """
    weights = coded_weights(model)
    if not weights:
        return {}
    exact = gradient_of()
    started = time.perf_counter()
    together = _error(weights.values(), gradient_of, exact)
    step_s = time.perf_counter() - started
    alike: dict[tuple[str, torch.Size], list[str]] = {}
    for name, weight in weights.items():
        key = name if len(weights) * step_s <= seconds else re.sub(r"\d+", "#", name)
        alike.setdefault((key, weight.codes.shape), []).append(name)
    errors: dict[str, float] = {}
    for names in alike.values():
        error = _error([weights[name] for name in names], gradient_of, exact)
        errors |= dict.fromkeys(names, share(error, names))
    total = sqrt(sum(error**2 for error in errors.values()))
    return {name: _rounded(error * together / max(total, 1e-30)) for name, error in errors.items()}


def _rounded(error: float) -> float:
    return 2 ** (round(log2(error) * STEPS_PER_DOUBLING) / STEPS_PER_DOUBLING) if error > 0 else 0.0


def _error(weights: Iterable[NarrowWeight], gradient_of: Callable[[], Tensor], exact: Tensor) -> float:
    with _shaken(list(weights)):
        return relative_error(gradient_of(), exact)


@contextmanager
def _shaken(weights: list[NarrowWeight]) -> Iterator[None]:
    """Inside, the codes are moved; what they were lies in the machine's memory: a device's is the budget."""
    payloads = [weight.payload for weight in weights]
    originals = [payload.to("cpu", copy=True) for payload in payloads]
    try:
        for weight, payload in zip(weights, payloads, strict=True):
            weight.codes.shake(payload, torch.Generator(payload.device).manual_seed(0))
        yield
    finally:
        for payload, original in zip(payloads, originals, strict=True):
            payload.copy_(original)
