import pytest
import torch

from s2a_core.kernels.layout import BITS, packed_bytes
from s2a_core.kernels.reference.packing import pack, unpack


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("numel", [0, 1, 3, 7, 8, 9, 63, 64, 1001])
def test_codes_are_a_little_endian_bit_stream(bits: int, numel: int) -> None:
    codes = torch.randint(0, 2**bits, (numel,), dtype=torch.uint8)
    packed = pack(codes, bits)
    stream = sum(int(code) << (i * bits) for i, code in enumerate(codes))
    assert bytes(packed.tolist()) == stream.to_bytes(packed_bytes(numel, bits), "little")
    assert torch.equal(unpack(packed, bits, numel), codes)


@pytest.mark.parametrize("bits", BITS)
def test_views_pack_as_their_copies(bits: int) -> None:
    codes = torch.randint(0, 2**bits, (17, 9), dtype=torch.uint8)
    assert torch.equal(pack(codes.t(), bits), pack(codes.t().contiguous(), bits))
    assert torch.equal(pack(codes.view(-1)[3:], bits), pack(codes.view(-1)[3:].clone(), bits))


def test_the_result_owns_its_memory_and_no_more() -> None:
    for bits in BITS:
        packed = pack(torch.zeros(1001, dtype=torch.uint8), bits)
        assert packed.untyped_storage().nbytes() == packed_bytes(1001, bits)
