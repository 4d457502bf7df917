"""The recipe: AdamW with rates by what is trained, warm-up then cosine, no decay of biases, averaged weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from s2a_core.adapters import changed_names
from s2a_core.adapters.head import head_parameters
from s2a_core.adapters.spec import AdapterSpec
from s2a_core.errors import InternalError
from s2a_core.models import has_batch_norm
from s2a_core.storage import Optimizer
from s2a_core.train.optimizers import make_adamw

# An Adam step moves a logit by up to rate x inputs: the wider the classifier, the smaller its rate. Alone on CIFAR-10
# photos of 64 px 192 inputs were best at .01 to .02 and 1280 at .002 to .003; beside adapters less overfits less.
HEAD_RATE_TIMES_INPUTS = 0.8
HEAD_ALONE_RATE_TIMES_INPUTS = 2.0
MAX_HEAD_RATE, MAX_HEAD_ALONE_RATE = 5e-3, 1e-2


# Fewer steps than this do not move biases and prompts far enough: `s2a train` makes more epochs of small datasets.
ENOUGH_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 150, 5, 30


def enough_epochs(num_train: int, batch_size: int) -> int:
    """Epochs after which a dataset has been learned: 5, or as many as 150 steps need, at most 30."""
    steps = max(1, -(-num_train // batch_size))
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, -(-ENOUGH_STEPS // steps)))


def learning_rates(model: nn.Module, adapter: str, lr: float | None = None) -> tuple[float, float]:
    """(rate of what the adapter trains, rate of the head). lr: replaces the first; where the head is alone both.

    Adapters together take the smallest of their rates, which s2a_core.adapters.kinds declares. The head starts from
    noise and has a rate of its own. Raises BadAdapter for words that name no kind.
    """
    parameters = dict(model.named_parameters())
    widths = [parameters[n].shape[1] for n in head_parameters(model) if parameters[n].ndim > 1]
    inputs = max(widths, default=1)
    rates = [kind.rates for kind in AdapterSpec.parse(adapter).declarations if kind.rates is not None]
    if not rates:
        alone = lr or min(MAX_HEAD_ALONE_RATE, HEAD_ALONE_RATE_TIMES_INPUTS / inputs)
        return alone, alone
    has_maps = has_batch_norm(model)
    rate = min(of_kind.maps if has_maps else of_kind.tokens for of_kind in rates)
    rate = min([rate, *(of_kind.limit(model) for of_kind in rates if of_kind.limit is not None)])
    return lr or rate, min(MAX_HEAD_RATE, HEAD_RATE_TIMES_INPUTS / inputs)


def make_optimizer(
    model: nn.Module, adapter: str, lr: float | None, weight_decay: float, optimizer: Optimizer = "adamw"
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; each group's `base_lr` is its rate before the schedule.

    Raises InternalError where parameters outside the head are trained by a kind that declares no rate.
    """
    rate, head_rate = learning_rates(model, adapter, lr)
    head = head_parameters(model)
    others = [name for name, parameter in model.named_parameters() if parameter.requires_grad and name not in head]
    if others and all(kind.rates is None for kind in AdapterSpec.parse(adapter).declarations):
        raise InternalError(f"{adapter} has no learning rate, but {others[0]} and {len(others) - 1} others are trained")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if parameter.ndim > 1 else 0.0  # biases and scales keep their size
            groups.setdefault((head_rate if name in head else rate, decay), []).append(parameter)
    made = [{"params": ps, "weight_decay": decay, "base_lr": base} for (base, decay), ps in groups.items()]
    return make_adamw(optimizer, made, rate)


def schedule(step: int, total_steps: int, warmup: float) -> float:
    """Share of the base rate at a step: linear over `warmup` of the steps, then a cosine to zero."""
    warm = max(1, round(warmup * total_steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total_steps - warm)))


class WeightAverage:
    """Exponential moving average of what training changes, evaluated and kept in its place.

    That is the trainable parameters, and the statistics of each BatchNorm that estimates them: averaged weights with
    the last weights' statistics are another network. It counts like bias-corrected Adam moments: the share of the
    newest values starts at 1 and falls to 1 - decay.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.num = decay, 0
        changed = changed_names(model)
        self.shadow = {
            name: tensor.detach().clone()
            for name, tensor in _tensors(model).items()
            if name in changed and tensor.is_floating_point()
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """After an optimizer step."""
        self.num += 1
        share = max(1 - self.decay, 1 / (self.num + 1))
        tensors = _tensors(model)
        for name, average in self.shadow.items():
            average.lerp_(tensors[name].detach(), share)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's tensors and the averaged ones, without copies; twice is as before."""
        tensors = _tensors(model)
        for name, average in self.shadow.items():
            self.shadow[name], tensors[name].data = tensors[name].data, average

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The averages in place of the last values, inside of the block."""
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    def state(self) -> dict[str, Tensor | int]:
        """What a checkpoint keeps."""
        return {**self.shadow, "": self.num}

    def restore(self, state: Mapping[str, Tensor | int]) -> None:
        """The average as it was."""
        for name, value in state.items():
            if isinstance(value, Tensor):
                self.shadow[name].copy_(value)
            else:
                self.num = int(value)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
