"""Dropout: the mask of the forward pass in one bit an element."""

from __future__ import annotations

import torch

from s2a_core.operators.dropout import DropoutFunction


def test_the_gradient_uses_the_forward_mask() -> None:
    x = torch.ones(50, 40, requires_grad=True)
    y = DropoutFunction.apply(x, 0.25)
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert torch.equal(dx, y.detach())
    assert 0.6 < float((y > 0).float().mean()) < 0.9
