import pytest
import torch

from s2a_core.kernels.layout import nf4_bytes
from s2a_core.kernels.reference.nf4 import LEVELS, dequantize_nf4, quantize_nf4, scales_of
from tests.assertions import assert_close, relative_rms


def quantiles(positive: int, offset: float = 0.9677083) -> list[float]:
    """Of N(0, 1), from `offset` down to just above one half."""
    at = torch.linspace(offset, 0.5, positive + 1, dtype=torch.float64)[:-1]
    return torch.distributions.Normal(0.0, 1.0).icdf(at.float()).tolist()


def test_the_levels_are_quantiles_of_a_normal_distribution() -> None:
    """As appendix E of arXiv 2305.14314 makes them: 8 above zero, zero, 7 below, over the largest."""
    above, below = quantiles(8), quantiles(7)
    made = sorted([*above, 0.0, *(-v for v in below)])
    expected = torch.tensor(made) / max(made)
    assert_close(torch.tensor(LEVELS), expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(3, 64), (1, 1), (7, 9), (4100, 64), (5, 49)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoded_weights_are_near_and_as_many_bytes_as_promised(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x = torch.randn(shape)
    payload = quantize_nf4(x)
    assert payload.numel() == payload.untyped_storage().nbytes() == nf4_bytes(*shape)
    decoded = dequantize_nf4(payload, *shape, dtype)
    assert decoded.dtype == dtype
    assert relative_rms(decoded.float(), x) < (0.11 if x.numel() > 1 else 0.01)


def test_values_on_the_levels_come_back_exactly() -> None:
    x = torch.tensor(LEVELS).repeat(2, 4) * torch.tensor([[0.5], [8.0]])
    assert torch.equal(dequantize_nf4(quantize_nf4(x), 2, 64, torch.float32), x)


def test_the_scale_is_searched_where_one_outlier_would_set_it() -> None:
    x = torch.randn(64, 64)
    x[:, 0] = 3.3
    payload = quantize_nf4(x)
    widest = x.abs().amax(1, keepdim=True).bfloat16()
    codes = (x / widest.float()).unsqueeze(-1).sub(torch.tensor(LEVELS)).abs().argmin(-1)
    unsearched = torch.tensor(LEVELS)[codes] * widest.float()
    assert (scales_of(payload, 64, 64) < widest).any()
    assert relative_rms(dequantize_nf4(payload, 64, 64, torch.float32), x) < relative_rms(unsearched, x)


def test_zeros_stay_zeros_and_nothing_is_nothing() -> None:
    assert torch.equal(dequantize_nf4(quantize_nf4(torch.zeros(3, 5)), 3, 5, torch.float32), torch.zeros(3, 5))
    assert dequantize_nf4(quantize_nf4(torch.zeros(0, 64)), 0, 64, torch.float32).shape == (0, 64)
