import itertools

import pytest
import torch

from s2a_core.kernels.layout import BITS, packed_bytes
from s2a_core.kernels.reference.activation import act_bwd, act_fwd, index
from s2a_core.kernels.reference.packing import pack
from s2a_core.kernels.tables import fit_table
from s2a_core.operators import CURVES
from tests.assertions import relative_rms


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", sorted(CURVES))
def test_forward_is_stock_and_the_gradient_nears_it_with_every_bit(name: str, dtype: torch.dtype) -> None:
    x = torch.randn(3, 1001).to(dtype).requires_grad_()
    y = CURVES[name].function(x)
    dy = torch.randn(3, 1001).to(dtype)
    (expected,) = torch.autograd.grad(y, x, dy)
    errors = []
    for bits in (1, 2, 3, 4):
        table = fit_table(CURVES[name], bits)
        found, codes = act_fwd(x.detach(), CURVES[name], table)
        assert torch.equal(found, y)
        assert codes.untyped_storage().nbytes() == packed_bytes(3003, bits)
        dx = act_bwd(dy, codes, table)
        assert dx.dtype is dtype
        errors.append(relative_rms(dx, expected))
    assert all(later < 0.8 * earlier for earlier, later in itertools.pairwise(errors)), errors


def test_two_bits_of_gelu_on_normal_inputs_are_within_seventeen_percent() -> None:
    x, table = torch.randn(100_000), fit_table(CURVES["gelu"], 2)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(CURVES["gelu"].function(x).sum(), x)
    payload = act_fwd(x.detach(), CURVES["gelu"], table)[1]
    assert relative_rms(act_bwd(torch.ones(100_000), payload, table), expected) < 0.17


@pytest.mark.parametrize("bits", BITS)
def test_a_code_counts_the_borders_at_or_below(bits: int) -> None:
    table = fit_table(CURVES["gelu"], bits)
    x = torch.cat([torch.randn(500) * 2, table.borders, torch.tensor([float("nan"), float("inf"), float("-inf")])])
    expected = (x[:, None] >= table.borders).sum(1).to(torch.uint8)
    assert torch.equal(index(x, table), expected)
    assert torch.equal(act_fwd(x, CURVES["gelu"], table)[1], pack(expected, bits))


def test_channels_last_keeps_its_order() -> None:
    table = fit_table(CURVES["silu"], 2)
    x = torch.randn(2, 5, 3, 4).contiguous(memory_format=torch.channels_last)
    y, codes = act_fwd(x, CURVES["silu"], table)
    assert y.is_contiguous(memory_format=torch.channels_last)
    dy = torch.randn(2, 5, 3, 4)
    plain = act_bwd(dy, act_fwd(x.contiguous(), CURVES["silu"], table)[1], table)
    assert torch.equal(act_bwd(dy, codes, table), plain)


def test_views_one_element_and_nothing_pass() -> None:
    table = fit_table(CURVES["gelu"], 3)
    x = torch.randn(7, 5)
    y, codes = act_fwd(x.t(), CURVES["gelu"], table)
    assert torch.equal(y, CURVES["gelu"].function(x.t().contiguous()))
    assert torch.equal(codes, act_fwd(x.t().contiguous(), CURVES["gelu"], table)[1])
    for shape in ((1,), (), (0, 4)):
        y, codes = act_fwd(torch.ones(shape), CURVES["gelu"], table)
        assert act_bwd(torch.ones(shape), codes, table).shape == y.shape == shape
