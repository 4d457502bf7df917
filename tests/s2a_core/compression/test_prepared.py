"""What a module's one call comes to is prepared in the second pass of a kind and used in the later ones."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from s2a_core.compression import compress
from s2a_core.compression.session import Session
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close

SITES = {
    "conv:conv": Storage.NONE, "norm:batch_norm": Storage.NONE, "relu:relu": Storage.MASK, "act:gelu": Storage.B8,
    "scale:layer_norm": Storage.B8,
}  # fmt: skip


class Net(nn.Module):
    """A module of every kind that makes one call. repeats: how often its activation runs."""

    def __init__(self, repeats: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.repeats = repeats
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.act, self.scale, self.head = nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 2)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.endswith("bias") or name.startswith("head"))
        self.norm.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        for _ in range(self.repeats):
            x = self.act(x)
        y: Tensor = self.head(self.scale(x))
        return y


def gradients(model: nn.Module, x: Tensor) -> Tensor:
    model.zero_grad(set_to_none=True)
    model(x).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def prepared(session: Session) -> dict[str, bool]:
    (watched,) = session.interceptor._learned.values()
    return {name: call is not None for name, call in watched.prepared.items()}


def test_prepared_calls_give_the_gradients_of_the_calls_that_were_looked_at() -> None:
    model, x = Net(), torch.randn(2, 3, 8, 8)
    exact = gradients(model, x)
    with compress(model, StoragePolicy(SITES)) as session:
        passes = [gradients(model, x) for _ in range(4)]
        assert prepared(session) == dict.fromkeys(("conv", "norm", "relu", "act", "scale"), True)
    assert_close(passes[0], exact, rel=0.02)
    for later in passes[1:]:
        assert torch.equal(later, passes[0])


def test_a_module_that_runs_twice_in_a_pass_is_looked_at_each_time() -> None:
    model, x = Net(repeats=2), torch.randn(2, 3, 8, 8)
    policy = StoragePolicy({**SITES, "act:gelu#2": Storage.B2})
    with compress(model, policy, ledger=True) as session:
        gradients(model, x)
        stored = session.ledger.bytes_by_site()
    with compress(model, policy) as session:
        passes = [gradients(model, x) for _ in range(3)]
        assert not prepared(session)["act"]
    assert stored["act:gelu"] > 3 * stored["act:gelu#2"]
    assert torch.equal(passes[0], passes[2])


@pytest.mark.parametrize("change", ["trains", "other weight", "other shape", "training mode"])
def test_a_changed_module_or_input_is_looked_at_again(change: str) -> None:
    model, x = Net(), torch.randn(2, 3, 8, 8)
    with compress(model, StoragePolicy(SITES)):
        for _ in range(3):
            gradients(model, x)
        if change == "trains":
            model.conv.weight.requires_grad_(True)
            model.norm.weight.requires_grad_(True)
        elif change == "other weight":
            model.conv.weight = nn.Parameter(torch.randn(8, 3, 3, 3), requires_grad=False)
        elif change == "other shape":
            x = torch.randn(3, 3, 8, 8)
        else:
            model.norm.train()
        seen = gradients(model, x)
    assert_close(seen, gradients(model, x), rel=0.03)


def test_no_activation_outlives_its_step() -> None:
    model, inside = Net(), list[weakref.ref[Tensor]]()
    model.act.register_forward_pre_hook(lambda module, args: inside.append(weakref.ref(args[0])))
    with compress(model, StoragePolicy(SITES)):
        for _ in range(3):
            gradients(model, torch.randn(2, 3, 8, 8))
            gc.collect()
            assert inside.pop()() is None
