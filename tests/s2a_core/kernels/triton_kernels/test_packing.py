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
