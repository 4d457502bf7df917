import pytest
import torch

from s2a_core.kernels.layout import BITS
from s2a_core.kernels.reference import packing as reference
from s2a_core.kernels.triton_kernels import packing


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("numel", [0, 1, 7, 8, 9, 1025])
def test_the_bytes_are_those_of_the_reference(bits: int, numel: int, device: torch.device) -> None:
    codes = torch.randint(0, 2**bits, (numel,), dtype=torch.uint8)
    packed = packing.pack(codes.to(device), bits)
    assert torch.equal(packed.cpu(), reference.pack(codes, bits))
    assert torch.equal(packing.unpack(packed, bits, numel).cpu(), codes)


@pytest.mark.parametrize("bits", BITS)
def test_one_program_of_a_tensor_beyond_2_to_the_31_bits_stores_its_codes(bits: int, device: torch.device) -> None:
    numel, some = 2**31 // 8, 8 * packing.GROUPS
    codes = torch.randint(0, 2**bits, (some,), dtype=torch.uint8).to(device)
    packed, back = torch.zeros(some, dtype=torch.uint8).to(device), torch.zeros_like(codes)
    is_wide = packing.is_wide(numel)
    packing._pack_kernel[(1,)](codes, packed, numel, bits, packing.GROUPS, is_wide)
    assert torch.equal(packed[: some * bits // 8].cpu(), reference.pack(codes.cpu(), bits))
    packing._unpack_kernel[(1,)](packed, back, numel, bits, some, is_wide)
    assert torch.equal(back, codes)
