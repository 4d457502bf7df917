import itertools

import pytest
import torch
import torch.nn.functional as F

from s2a_core.kernels.layout import payload_bytes
from s2a_core.kernels.reference.norm import norm_bwd, norm_fwd, normalize
from tests.assertions import assert_close, relative_rms


def stock(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, centred: bool) -> torch.Tensor:
    if centred:
        return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-6)
    return F.rms_norm(x, x.shape[-1:], weight, 1e-6) + bias


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("centred", [True, False])
def test_forward_is_stock_and_backward_nears_it_with_every_bit(centred: bool, dtype: torch.dtype) -> None:
    x = (torch.randn(3, 31, 20) * 2 + 1).to(dtype).requires_grad_()
    weight, bias = torch.randn(20, requires_grad=True), torch.randn(20, requires_grad=True)
    reference = stock(x.float(), weight, bias, centred)
    dy = torch.randn(3, 31, 20)
    expected = torch.autograd.grad(reference, (x, weight, bias), dy)
    errors = []
    for bits in (2, 4, 6, 8):
        y, payload, rstd = norm_fwd(x.detach(), weight.detach(), bias.detach(), 1e-6, bits, 31, centred)
        assert_close(y, reference.detach().to(dtype), rel=1e-6 if dtype is torch.float32 else 5e-3)
        assert payload.numel() == payload_bytes((3, 31, 20), bits)
        dx, dw, db = norm_bwd(dy.to(dtype), payload, rstd, weight.detach(), (3, 31, 20), bits, centred, True)
        assert dw is not None
        errors.append(relative_rms(dx.float(), expected[0].float()))
        assert_close(db, expected[2], rel=1e-5 if dtype is torch.float32 else 1e-2)
        if bits == 8:
            assert_close(dw, expected[1], rel=1e-2)
    assert errors[-1] < 1e-2
    assert errors[0] > errors[1] > errors[2]
    assert all(b < a * 1.05 for a, b in itertools.pairwise(errors))


def test_normalize_is_the_norm_without_weights() -> None:
    x = torch.randn(5, 16) * 3 + 2
    assert_close(normalize(x, 1e-5)[0], F.layer_norm(x, (16,), eps=1e-5))
    assert_close(normalize(x, 1e-5, subtract_mean=False)[0], F.rms_norm(x, (16,), eps=1e-5))
    assert normalize(x, 1e-5)[1].shape == (5, 1)


def test_an_empty_batch_passes_and_broken_samples_are_refused() -> None:
    x = torch.empty(0, 4, 8)
    y, payload, rstd = norm_fwd(x, None, None, 1e-6, 4, 4)
    dx, dw, db = norm_bwd(x, payload, rstd, None, (0, 4, 8), 4)
    assert y.shape == dx.shape == x.shape
    assert dw is None
    assert torch.equal(db, torch.zeros(8))
    with pytest.raises(ValueError, match="10 rows are not a whole number of samples of 4 tokens"):
        norm_fwd(torch.randn(10, 8), None, None, 1e-6, 4, 4)


def test_nan_stays_in_its_sample() -> None:
    x = torch.randn(2, 6, 8)
    x[0, 2, 3] = float("nan")
    y, payload, rstd = norm_fwd(x, None, None, 1e-6, 4, 6)
    dx = norm_bwd(torch.randn(2, 6, 8), payload, rstd, None, (2, 6, 8), 4)[0]
    assert bool(y[0, 2].isnan().all())
    assert bool(torch.isfinite(dx[1]).all())
    assert bool(dx[0].isnan().any())
