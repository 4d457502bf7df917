import pytest
import torch

from s2a_core.operators import CURVES
from tests.assertions import assert_close


@pytest.mark.parametrize("name", sorted(CURVES))
def test_it_is_the_gradient_that_autograd_finds(name: str) -> None:
    x = torch.linspace(-9, 9, 1801, dtype=torch.float64).add_(1e-3).requires_grad_()
    (expected,) = torch.autograd.grad(CURVES[name].function(x).sum(), x)
    assert_close(CURVES[name].derivative(x.detach()), expected, rel=1e-9)
