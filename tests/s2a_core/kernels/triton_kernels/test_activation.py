import pytest
import torch

from s2a_core.kernels.layout import BITS
from s2a_core.kernels.reference import activation as reference
from s2a_core.kernels.reference import mask as reference_mask
from s2a_core.kernels.tables import fit_table
from s2a_core.kernels.triton_kernels import activation
from s2a_core.operators import CURVES
from tests.assertions import assert_close


@pytest.mark.parametrize("name", sorted(CURVES))
def test_every_activation_gives_the_same_value_code_and_gradient(name: str, device: torch.device) -> None:
    table = fit_table(CURVES[name], 2)
    x, dy = torch.randn(517) * 3, torch.randn(517)
    y, codes = activation.act_fwd(x.to(device), CURVES[name], table)
    expected, expected_codes = reference.act_fwd(x, CURVES[name], table)
    assert_close(y.cpu(), expected, rel=1e-5)
    assert torch.equal(codes.cpu(), expected_codes)
    assert torch.equal(activation.act_bwd(dy.to(device), codes, table).cpu(), reference.act_bwd(dy, codes.cpu(), table))


@pytest.mark.parametrize("bits", BITS)
def test_codes_of_every_width_are_those_of_the_reference(bits: int, device: torch.device) -> None:
    table = fit_table(CURVES["gelu"], bits)
    x = torch.cat([torch.randn(200), torch.tensor([0.0, float("inf"), float("-inf"), float("nan")]), table.borders])
    y, codes = activation.act_fwd(x.to(device), CURVES["gelu"], table)
    assert torch.equal(codes.cpu(), reference.act_fwd(x, CURVES["gelu"], table)[1])
    assert bool(y.cpu()[203].isnan())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_takes_the_same_codes(dtype: torch.dtype, device: torch.device) -> None:
    table = fit_table(CURVES["silu"], 3)
    x = torch.randn(3, 11, 5).to(dtype).transpose(0, 1)
    y, codes = activation.act_fwd(x.to(device), CURVES["silu"], table)
    expected, expected_codes = reference.act_fwd(x, CURVES["silu"], table)
    assert_close(y.cpu(), expected, rel=1e-2)
    assert torch.equal(codes.cpu(), expected_codes)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", reference_mask.NAMES)
def test_masks_are_exact_in_any_memory_order(name: str, inplace: bool, device: torch.device) -> None:
    for order in (torch.contiguous_format, torch.channels_last):
        x = (torch.randn(2, 3, 4, 5) * 4).contiguous(memory_format=order)
        x[0, 0, 0, 0] = float("inf")
        y, bits = activation.mask_fwd(x.clone().to(device), name, (), inplace)
        expected, expected_bits = reference_mask.mask_fwd(x, name)
        assert torch.allclose(y.cpu(), expected, rtol=1e-6)
        assert torch.equal(bits.cpu(), expected_bits)
        dy = torch.randn(2, 3, 4, 5)
        dx = activation.mask_bwd(dy.to(device), bits, name).cpu()
        assert torch.allclose(dx, reference_mask.mask_bwd(dy, expected_bits, name), rtol=1e-6)
        dx = activation.mask_bwd(torch.full_like(dy, torch.inf).to(device), bits, name).cpu()
        assert not dx.isnan().any()  # a slope of 0 gives 0


def test_an_empty_tensor_passes(device: torch.device) -> None:
    table = fit_table(CURVES["gelu"], 2)
    y, codes = activation.act_fwd(torch.empty(0, 3, device=device), CURVES["gelu"], table)
    assert y.shape == (0, 3)
    assert codes.numel() == 0
