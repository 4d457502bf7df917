"""Checkpoints inside a model are refused with advice where a plan changes what is stored, and run where none does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from s2a_core.compression import compress
from s2a_core.errors import InvalidInput
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close
from tests.s2a_core.compression.models import small_vit


class Checkpointed(nn.Module):
    """Two activations, of which the second runs inside a checkpoint of torch."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Sequential(nn.GELU(), nn.Linear(8, 8))
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = checkpoint(self.second, self.first(x), use_reentrant=self.use_reentrant)
        return result


@pytest.mark.parametrize(
    "policy",
    [
        StoragePolicy(default=Storage.B8),
        StoragePolicy({"blocks.1:block": Storage.B8}),
        StoragePolicy({"blocks.0.mlp.act:gelu": Storage.B2}),
    ],
    ids=["codes", "block", "one site"],
)
def test_a_checkpointed_model_is_refused_with_advice(policy: StoragePolicy) -> None:
    model = small_vit().train()
    model.set_grad_checkpointing(True)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=r"set_grad_checkpointing\(False\)"), compress(model, policy):
        model(torch.randn(2, 3, 64, 64))


def test_any_checkpoint_of_torch_is_seen() -> None:
    model = Checkpointed(use_reentrant=False)
    with (
        pytest.raises(InvalidInput, match=r"inside torch\.utils\.checkpoint"),
        compress(model, StoragePolicy(default=Storage.B4)),
    ):
        model(torch.randn(2, 8))


@pytest.mark.parametrize(("use_reentrant", "policy"), [(False, StoragePolicy()), (True, StoragePolicy({}, Storage.B8))])
def test_where_a_checkpoint_works_the_gradient_is_right(use_reentrant: bool, policy: StoragePolicy) -> None:
    torch.manual_seed(0)
    model, x = Checkpointed(use_reentrant), torch.randn(4, 8)
    model(x).square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    with compress(model, policy):
        loss = model(x).square().sum()
    loss.backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert_close(parameter.grad, gradient, rel=1e-6)
