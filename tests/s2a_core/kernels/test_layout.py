import pytest

from s2a_core.kernels.layout import BITS, packed_bytes, payload_bytes, scales_offset


def test_a_payload_is_codes_then_statistics() -> None:
    # 3 x 197 x 5 codes of 3 bits: 2955 * 3 / 8 = 1108.1 bytes, even: 1110; 4 bytes for each of 15 groups
    assert packed_bytes(2955, 3) == 1109
    assert scales_offset(2955, 3) == 1110
    assert payload_bytes((3, 197, 5), 3) == 1110 + 60


def test_nothing_takes_no_bytes() -> None:
    assert [payload_bytes((0, 197, 768), bits) for bits in BITS] == [0] * len(BITS)


@pytest.mark.parametrize("bits", [0, 7, 9, 16])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"not {bits}"):
        packed_bytes(8, bits)
