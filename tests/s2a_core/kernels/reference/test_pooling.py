import pytest
import torch
import torch.nn.functional as F

from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.pooling import maxpool2d_bwd, maxpool2d_fwd, offset_bits

CASES = [((2, 3, 11, 9), 3, 2, 1, 1, False), ((1, 2, 8, 8), 2, None, 0, 1, False), ((2, 1, 13, 13), 5, 3, 2, 2, True)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient_are_those_of_stock(case: tuple) -> None:
    shape, kernel, stride, padding, dilation, ceil_mode = case
    x = torch.randn(shape).round().requires_grad_()  # with ties
    y = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    dy = torch.randn(y.shape)
    (expected,) = torch.autograd.grad(y, x, dy)
    found, offsets = maxpool2d_fwd(x.detach(), kernel, stride, padding, dilation, ceil_mode)
    assert torch.equal(found, y)
    assert offsets.untyped_storage().nbytes() == packed_bytes(y.numel(), offset_bits((kernel, kernel)))
    assert torch.allclose(maxpool2d_bwd(dy, offsets, shape, kernel, stride, padding, dilation), expected)


def test_four_bits_hold_a_window_of_sixteen() -> None:
    assert [offset_bits((k, k)) for k in (2, 3, 4, 5, 16)] == [2, 4, 4, 5, 8]
    with pytest.raises(ValueError, match="not 289"):
        offset_bits((17, 17))


def test_empty_batches_single_maps_and_half_precision_pass() -> None:
    y, offsets = maxpool2d_fwd(torch.empty(0, 3, 8, 8), 2)
    assert y.shape == (0, 3, 4, 4)
    assert maxpool2d_bwd(y, offsets, (0, 3, 8, 8), 2).shape == (0, 3, 8, 8)
    y, offsets = maxpool2d_fwd(torch.randn(3, 8, 8).bfloat16(), 2)
    assert maxpool2d_bwd(y, offsets, (3, 8, 8), 2).dtype is torch.bfloat16
