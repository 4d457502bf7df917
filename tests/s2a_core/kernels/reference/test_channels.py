import itertools

import pytest
import torch

from s2a_core.kernels.layout import BITS, payload_bytes
from s2a_core.kernels.reference.channels import (
    dequantize_channels,
    farthest,
    quantize_channels,
    row_stride,
    statistics_of,
)
from tests.assertions import relative_rms

SHAPES = [(2, 5, 3), (3, 197, 24), (1, 1, 1), (40, 1, 5), (7, 49, 1), (3, 2000, 33)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_value_is_off_by_more_than_half_a_step(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x = (torch.randn(shape) * 3 + 1).to(dtype)
    for bits in BITS:
        payload = quantize_channels(x, bits)
        assert payload.untyped_storage().nbytes() == payload_bytes(shape, bits)
        error = (dequantize_channels(payload, shape, bits, torch.float32) - x.float()).abs()
        scales, _ = statistics_of(payload, shape, bits)
        misplaced = (farthest(bits) + 1) / 2**9  # of a step: bf16 rounds the zero
        assert bool((error <= scales.float() * (0.5 + misplaced) + 1e-6).all())
        low, high = x.float().amin(1, keepdim=True), x.float().amax(1, keepdim=True)
        widest = ((high - low) + 2.0**-7 * low.abs()) * (1 + 2.0**-7) / (2**bits - 1)
        assert bool((scales.float() <= widest).all())


def test_the_first_token_is_a_level_from_two_bits_on() -> None:
    x = torch.randn(3, 197, 24)
    x[:, 0] *= 2  # a class token is often the farthest of all
    for bits, part in ((2, 0.05), (3, 0.05), (4, 0.08), (5, 0.15), (6, 0.3), (8, 0.85)):  # the zero is rounded to bf16
        error = dequantize_channels(quantize_channels(x, bits), (3, 197, 24), bits, x.dtype) - x
        assert error[:, 0].square().mean().sqrt() < part * error[:, 1:].square().mean().sqrt()


def test_a_group_far_from_zero_keeps_its_range() -> None:
    x = 1000 + torch.randn(2, 50, 4)
    back = dequantize_channels(quantize_channels(x, 8), (2, 50, 4), 8, x.dtype)
    assert float((back - x).abs().max()) < 0.04  # bf16 knows 1000 to 4, so the step is (range + 8) / 255


def test_the_error_falls_with_every_bit() -> None:
    x = torch.randn(4, 197, 32)
    errors = [relative_rms(dequantize_channels(quantize_channels(x, b), (4, 197, 32), b, x.dtype), x) for b in BITS]
    assert all(later < 0.65 * earlier for earlier, later in itertools.pairwise(errors)), errors


def test_one_token_comes_back_almost_exactly() -> None:
    x = torch.randn(5, 1, 64) * 100
    for bits in (2, 4, 8):
        back = dequantize_channels(quantize_channels(x, bits), (5, 1, 64), bits, x.dtype)
        assert relative_rms(back, x) < 1e-3


def test_constants_and_zeros_come_back() -> None:
    for value in (0.0, 1.5, -3.25, 1e-30):
        x = torch.full((1, 9, 3), value)
        assert relative_rms(dequantize_channels(quantize_channels(x, 3), (1, 9, 3), 3, x.dtype), x) < 1e-2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_value_spoils_its_own_group_only(value: float) -> None:
    x = torch.randn(3, 50, 7)
    clean = dequantize_channels(quantize_channels(x, 4), (3, 50, 7), 4, x.dtype)
    x[1, 20, 5] = value
    spoiled = dequantize_channels(quantize_channels(x, 4), (3, 50, 7), 4, x.dtype)
    assert bool(spoiled[1, :, 5].isnan().all())
    clean[1, :, 5] = spoiled[1, :, 5] = 0
    assert torch.equal(clean, spoiled)


def test_it_writes_into_the_given_tensor_and_takes_any_view() -> None:
    x = torch.randn(4, 6, 10).transpose(1, 2)
    payload = quantize_channels(x, 5)
    assert torch.equal(payload, quantize_channels(x.contiguous(), 5))
    out = torch.empty(4, 10, 6, dtype=torch.bfloat16)
    assert dequantize_channels(payload, (4, 10, 6), 5, torch.bfloat16, out) is out
    assert torch.equal(out, dequantize_channels(payload, (4, 10, 6), 5, torch.bfloat16))


def test_an_empty_batch_passes() -> None:
    payload = quantize_channels(torch.empty(0, 197, 8), 4)
    assert payload.numel() == 0
    assert dequantize_channels(payload, (0, 197, 8), 4, torch.float32).shape == (0, 197, 8)


def test_rows_are_one_stride_apart_or_copied() -> None:
    x = torch.empty(2, 5, 6)
    assert row_stride(x) == 6
    assert row_stride(torch.empty(2, 5, 18)[:, :, 6:12]) == 18
    assert row_stride(x.transpose(1, 2)) == 0
    assert row_stride(torch.empty(2, 9, 6)[:, :5]) == 0  # samples further apart than their rows
    assert row_stride(torch.empty(1, 9, 6)[:, ::2]) == 12
    assert row_stride(torch.empty(1, 1, 6).expand(1, 4, 6)) == 0
    assert row_stride(torch.empty(7, 4, 1)) == 1
