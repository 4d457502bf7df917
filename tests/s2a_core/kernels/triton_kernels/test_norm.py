import pytest
import torch

from s2a_core.kernels.reference import norm as reference
from s2a_core.kernels.triton_kernels import norm
from tests.assertions import assert_close


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("shape", [(2, 19, 24), (3, 7, 5), (1, 1, 6)], ids=str)
def test_forward_and_backward_are_those_of_the_reference(
    shape: tuple[int, int, int], bits: int, centred: bool, device: torch.device
) -> None:
    x, dy, weight, bias = torch.randn(shape) * 2 + 1, torch.randn(shape), torch.randn(shape[-1]), torch.randn(shape[-1])
    there = [t.to(device) for t in (x, dy, weight, bias)]
    y, payload, rstd = norm.norm_fwd(there[0], there[2], there[3], 1e-6, bits, shape[1], centred)
    expected = reference.norm_fwd(x, weight, bias, 1e-6, bits, shape[1], centred)
    assert_close(y.cpu(), expected[0], rel=1e-5)
    assert_close(rstd.cpu(), expected[2], rel=1e-5)
    # sums are added in another order, so a value on the border between two codes may take either
    assert (payload.cpu() != expected[1]).float().mean() < 0.05
    codes, stored_rstd = expected[1].to(device), expected[2].to(device)
    found = norm.norm_bwd(there[1], codes, stored_rstd, there[2], shape, bits, centred, True)
    wanted = reference.norm_bwd(dy, expected[1], expected[2], weight, shape, bits, centred, True)
    for actual, value in zip(found, wanted, strict=True):
        assert actual is not None
        assert value is not None
        assert_close(actual.cpu(), value, rel=1e-4)


def test_an_empty_batch_passes(device: torch.device) -> None:
    x = torch.randn(0, 4, 8, device=device)
    y, payload, rstd = norm.norm_fwd(x, None, None, 1e-6, 4, 4)
    dx, dw, db = norm.norm_bwd(x, payload, rstd, None, (0, 4, 8), 4)
    assert y.shape == dx.shape == (0, 4, 8)
    assert dw is None
    assert torch.equal(db.cpu(), torch.zeros(8))


def test_normalize_gives_unit_variance_without_weights(device: torch.device) -> None:
    x = torch.randn(3, 5, 16)
    for centred in (True, False):
        xhat, rstd = norm.normalize(x.to(device), 1e-6, centred)
        expected = reference.normalize(x, 1e-6, centred)
        assert_close(xhat.cpu(), expected[0], rel=1e-5)
        assert_close(rstd.cpu(), expected[1], rel=1e-5)
