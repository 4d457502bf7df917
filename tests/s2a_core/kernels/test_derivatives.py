import pytest
import torch

from s2a_core.kernels.derivatives import DERIVATIVES
from s2a_core.kernels.reference.activation import FUNCTIONS
from tests.assertions import assert_close


@pytest.mark.parametrize("name", sorted(DERIVATIVES))
def test_it_is_the_gradient_that_autograd_finds(name: str) -> None:
    x = torch.linspace(-9, 9, 1801, dtype=torch.float64).add_(1e-3).requires_grad_()
    (expected,) = torch.autograd.grad(FUNCTIONS[name](x).sum(), x)
    assert_close(DERIVATIVES[name](x.detach()), expected, rel=1e-9)


def test_every_activation_has_one() -> None:
    assert set(DERIVATIVES) == set(FUNCTIONS)
