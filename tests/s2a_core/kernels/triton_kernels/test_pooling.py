import pytest
import torch

from s2a_core.kernels.reference import pooling as reference
from s2a_core.kernels.triton_kernels import pooling

CASES = [((2, 3, 11, 9), 3, 2, 1, 1, False), ((1, 2, 8, 8), 2, 2, 0, 1, False), ((1, 1, 13, 13), 5, 3, 2, 2, True)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_offsets_and_gradient_are_exact(case: tuple, device: torch.device) -> None:
    shape, kernel, stride, padding, dilation, ceil_mode = case
    x = torch.randn(shape).round()  # ties
    y, payload = pooling.maxpool2d_fwd(x.to(device), kernel, stride, padding, dilation, ceil_mode)
    expected, expected_payload = reference.maxpool2d_fwd(x, kernel, stride, padding, dilation, ceil_mode)
    assert torch.equal(y.cpu(), expected)
    assert torch.equal(payload.cpu(), expected_payload)
    dy = torch.randn(expected.shape)
    dx = pooling.maxpool2d_bwd(dy.to(device), payload, shape, kernel, stride, padding, dilation).cpu()
    assert torch.allclose(dx, reference.maxpool2d_bwd(dy, expected_payload, shape, kernel, stride, padding, dilation))


def test_nan_wins_its_window(device: torch.device) -> None:
    x = torch.randn(1, 1, 4, 4)
    x[0, 0, 1, 1] = float("nan")
    y, payload = pooling.maxpool2d_fwd(x.to(device), 2)
    expected, expected_payload = reference.maxpool2d_fwd(x, 2)
    assert torch.equal(y.cpu().isnan(), expected.isnan())
    assert torch.equal(payload.cpu(), expected_payload)
