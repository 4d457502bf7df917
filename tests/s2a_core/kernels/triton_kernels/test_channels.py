import pytest
import torch

from s2a_core.kernels.layout import BITS
from s2a_core.kernels.reference import channels as reference
from s2a_core.kernels.triton_kernels import channels
from tests.assertions import assert_close

SHAPES = [(2, 21, 24), (0, 4, 4), (1, 1, 1), (9, 1, 5), (3, 49, 1), (1, 7, 70)]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_and_statistics_are_those_of_the_reference(
    bits: int, shape: tuple[int, int, int], device: torch.device
) -> None:
    x = torch.randn(shape) * 3 + 1
    payload = channels.quantize_channels(x.to(device), bits)
    expected = reference.quantize_channels(x, bits)
    assert torch.equal(payload.cpu(), expected)
    decoded = channels.dequantize_channels(payload, shape, bits, torch.float32).cpu()
    assert torch.equal(decoded, reference.dequantize_channels(expected, shape, bits, torch.float32))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_gives_the_same_codes(dtype: torch.dtype, device: torch.device) -> None:
    x = (torch.randn(2, 17, 9) * 3).to(dtype).transpose(1, 2)  # not contiguous
    payload = channels.quantize_channels(x.to(device), 3)
    assert torch.equal(payload.cpu(), reference.quantize_channels(x, 3))
    out = torch.empty(2, 9, 17, dtype=dtype, device=device)
    channels.dequantize_channels(payload, (2, 9, 17), 3, dtype, out)
    assert_close(out.cpu(), reference.dequantize_channels(payload.cpu(), (2, 9, 17), 3, dtype), rel=5e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_value_spoils_its_own_group_only(value: float, device: torch.device) -> None:
    x = torch.randn(2, 10, 6)
    x[1, 3, 2] = value
    payload = channels.quantize_channels(x.to(device), 4)
    assert torch.equal(payload.cpu(), reference.quantize_channels(x, 4))
    decoded = channels.dequantize_channels(payload, (2, 10, 6), 4, torch.float32).cpu()
    is_bad = torch.zeros(2, 10, 6, dtype=torch.bool)
    is_bad[1, :, 2] = True
    assert torch.equal(decoded.isnan(), is_bad)


def test_slices_of_one_product_are_coded_where_they_lie(device: torch.device) -> None:
    qkv = torch.randn(2, 19, 3 * 24)
    there = qkv.to(device)
    for i in range(3):
        part = slice(24 * i, 24 * (i + 1))
        payload = channels.quantize_channels(there[:, :, part], 4)
        assert torch.equal(payload.cpu(), reference.quantize_channels(qkv[:, :, part].contiguous(), 4))
