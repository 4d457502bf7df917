"""Modules whose hooks keep a tensor for later are not rebuilt: its gradient and its whole batch would be lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s2a_core.compression import compress
from s2a_core.compression.discover import discover, uniform_policy
from s2a_core.hooks import PairedHooks, RebuildableHooks, pure
from tests.assertions import assert_close

WIDTH = 8


class Widen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.act = nn.Linear(WIDTH, 4 * WIDTH), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.dense(x))


class PostNorm(nn.Module):
    """As BERT's layer: the MLP is two modules, and the norm before them is the residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.widen, self.narrow = nn.LayerNorm(WIDTH), Widen(), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return x + self.narrow(self.widen(x))


class Branch(PairedHooks):
    """Hands the input of one module on to the output of another."""

    def __init__(self) -> None:
        self.x: Tensor | None = None

    def read(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.x = args[0]

    def add(self, module: nn.Module, args: Any, y: Tensor) -> Tensor:
        assert self.x is not None
        x, self.x = self.x, None
        return y + x.sin()


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(PostNorm(), PostNorm())


def regions(model: nn.Module) -> set[str]:
    return {spec.name for spec in discover(model, torch.randn(4, 5, WIDTH)) if spec.op == "region"}


def gradients(model: nn.Module, x: Tensor, chunk: int | None) -> list[Tensor]:
    model.zero_grad()
    if chunk is None:
        model(x).square().sum().backward()
    else:
        policy = uniform_policy(discover(model, x), 8, recompute=True, chunk_samples=chunk)
        with compress(model, policy):
            loss = model(x).square().sum()
        loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_a_tensor_that_hooks_hand_out_of_a_module_has_its_gradient(model: nn.Sequential, chunk: int) -> None:
    for layer in model:
        branch = Branch()
        layer.widen.dense.register_forward_pre_hook(branch.read)
        layer.narrow.register_forward_hook(branch.add)
    x = torch.randn(4, 5, WIDTH)
    for compressed, exact in zip(gradients(model, x, chunk), gradients(model, x, None), strict=True):
        assert_close(compressed, exact, rel=0.02)


def test_hooks_that_keep_a_tensor_stop_the_module_around_them(model: nn.Sequential) -> None:
    names = regions(model)
    assert len(names) == 2
    features: list[Tensor] = []
    handle = model[0].widen.act.register_forward_hook(lambda module, args, y: features.append(y))
    assert regions(model) == {name for name in names if name.startswith("1.")}
    handle.remove()
    model[0].widen.register_forward_hook(lambda module, args, y: features.append(y))  # runs outside of it
    assert regions(model) == names


def test_pure_hooks_and_pairs_inside_a_module_may_be_rebuilt(model: nn.Sequential) -> None:
    branch = Branch()
    model[0].widen.dense.register_forward_hook(pure(lambda module, args, y: 2 * y))
    model[1].widen.dense.register_forward_pre_hook(branch.read)
    handle = model[1].widen.act.register_forward_hook(branch.add)
    hooks = RebuildableHooks(model)
    assert [hooks.allow(name) for name in ("0.widen", "1.widen", "1", "")] == [True] * 4
    handle.remove()
    model[1].narrow.register_forward_hook(branch.add)
    hooks = RebuildableHooks(model)
    assert [hooks.allow(name) for name in ("0.widen", "1.widen", "1", "")] == [True, False, True, True]
