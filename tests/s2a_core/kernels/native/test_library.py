import pytest
import torch

from s2a_core.kernels.layout import BITS
from s2a_core.kernels.native import build, library
from s2a_core.kernels.reference import activation, channels, mask, nf4, norm, packing, pooling
from s2a_core.kernels.tables import fit_table
from s2a_core.operators import CURVES
from tests.assertions import assert_close

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = [(2, 5, 3), (3, 197, 24), (0, 4, 4), (1, 1, 1), (40, 1, 5), (7, 49, 1), (2, 3000, 1), (2, 9, 1500)]


@pytest.fixture(autouse=True)
def built() -> None:
    if build.compiler_path() is None:
        pytest.skip(f"needs a C++ compiler: none of {', '.join(build.COMPILERS)} is on the PATH")
    assert library.load() == ""


@pytest.mark.parametrize("bits", BITS)
def test_bytes_are_those_of_the_reference(bits: int) -> None:
    for numel in (0, 1, 7, 8, 9, 5000):
        codes = torch.randint(0, 2**bits, (numel,), dtype=torch.uint8)
        packed = library.pack(codes, bits)
        assert torch.equal(packed, packing.pack(codes, bits))
        assert torch.equal(library.unpack(packed, bits, numel), codes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_payloads_are_those_of_the_reference(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x = (torch.randn(shape) * 3 + 1).to(dtype)
    for bits in BITS:
        payload = library.quantize_channels(x, bits)
        assert torch.equal(payload, channels.quantize_channels(x, bits))
        expected = channels.dequantize_channels(payload, shape, bits, dtype)
        assert torch.equal(library.dequantize_channels(payload, shape, bits, dtype), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(33, 64), (0, 64), (1, 1), (7, 9), (5000, 49)], ids=str)
def test_nf4_weights_are_those_of_the_reference(shape: tuple[int, int], dtype: torch.dtype) -> None:
    payload = nf4.quantize_nf4(torch.randn(shape))
    assert torch.equal(library.dequantize_nf4(payload, *shape, dtype), nf4.dequantize_nf4(payload, *shape, dtype))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("shape", [(2, 20, 7), (4, 50, 1)], ids=str)
def test_a_bad_value_spoils_its_own_group_only(shape: tuple[int, int, int], value: float) -> None:
    x = torch.randn(shape)
    x[1, 3, -1] = value
    payload = library.quantize_channels(x, 3)
    assert torch.equal(payload, channels.quantize_channels(x, 3))
    is_bad = torch.zeros(shape, dtype=torch.bool)
    is_bad[1, :, -1] = True
    assert torch.equal(library.dequantize_channels(payload, shape, 3, torch.float32).isnan(), is_bad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", BITS)
def test_activations_are_those_of_the_reference(bits: int, dtype: torch.dtype) -> None:
    table = fit_table(CURVES["gelu"], bits)
    x, dy = torch.randn(3, 2333).to(dtype), torch.randn(3, 2333).to(dtype)
    x[0, :2] = torch.tensor([float("nan"), float("inf")])
    y, codes = library.act_fwd(x, CURVES["gelu"], table)
    expected, expected_codes = activation.act_fwd(x, CURVES["gelu"], table)
    assert torch.equal(codes, expected_codes)
    assert torch.equal(y.nan_to_num(), expected.nan_to_num())
    dy[0, 2:4] = torch.tensor([float("inf"), float("-inf")])
    assert torch.equal(library.act_bwd(dy, codes, table), activation.act_bwd(dy, codes, table))


@pytest.mark.parametrize("name", mask.NAMES)
def test_masks_are_those_of_the_reference(name: str) -> None:
    for order in (torch.contiguous_format, torch.channels_last):
        x = (torch.randn(2, 3, 9, 5) * 4).contiguous(memory_format=order)
        y, bits = library.mask_fwd(x, name)
        expected, expected_bits = mask.mask_fwd(x, name)
        assert torch.equal(y, expected)
        assert torch.equal(bits, expected_bits)
        dy = torch.randn(2, 3, 9, 5)
        assert torch.allclose(library.mask_bwd(dy, bits, name), mask.mask_bwd(dy, bits, name), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("shape", [(2, 197, 24), (3, 7, 5), (0, 4, 8)], ids=str)
def test_norms_are_those_of_the_reference(shape: tuple[int, int, int], centred: bool, dtype: torch.dtype) -> None:
    x, dy = (torch.randn(shape) * 2 + 1).to(dtype), torch.randn(shape).to(dtype)
    weight, bias = torch.randn(shape[-1]), torch.randn(shape[-1])
    found = library.norm_fwd(x, weight, bias, 1e-6, 3, shape[1], centred)
    expected = norm.norm_fwd(x, weight, bias, 1e-6, 3, shape[1], centred)
    rel = 1e-5 if dtype is torch.float32 else 5e-3
    assert_close(found[0], expected[0], rel=rel)
    assert_close(found[2], expected[2], rel=1e-5)
    # sums are added in another order, so a value on the border between two codes may take either
    assert int((found[1] != expected[1]).sum()) <= 0.02 * found[1].numel()
    gradients = library.norm_bwd(dy, expected[1], expected[2], weight, shape, 3, centred, True)
    wanted = norm.norm_bwd(dy, expected[1], expected[2], weight, shape, 3, centred, True)
    for actual, value in zip(gradients, wanted, strict=True):
        assert actual is not None
        assert value is not None
        assert_close(actual, value, rel=rel)


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    x, weight = torch.randn(5, 50, 40), torch.randn(40)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        _, payload, rstd = library.norm_fwd(x, weight, None, 1e-6, 4, 50)
        results.append((payload, *library.norm_bwd(x, payload, rstd, weight, (5, 50, 40), 4, True, True)))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_compiler_that_fails_is_a_reason_not_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(library, "_loaded", [])
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "--no-such-flag"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert "no-such-flag" in library.load()


POOLS = [
    ((2, 3, 11, 9), 3, 2, 1, 1, False),
    ((1, 2, 8, 8), 2, None, 0, 1, False),
    ((1, 1, 13, 13), 5, 3, 2, 2, True),
    ((3, 4, 12), 3, 2, 1, 1, False),
    ((0, 2, 6, 6), 2, 2, 0, 1, False),
    ((2, 5, 7, 10), (3, 2), (2, 1), (1, 0), (1, 2), True),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_pooling_is_that_of_the_reference(case: tuple, dtype: torch.dtype) -> None:
    shape, kernel, *options = case
    x = torch.randn(shape).mul(2).round().to(dtype)  # ties
    if x.numel():
        x.view(-1)[3], x.view(-1)[7] = float("nan"), float("-inf")
    formats = [x, x.contiguous(memory_format=torch.channels_last)] if x.dim() == 4 else [x]
    for given in formats:
        y, payload = library.maxpool2d_fwd(given, kernel, *options)
        expected, offsets = pooling.maxpool2d_fwd(x, kernel, *options)
        assert torch.equal(y.nan_to_num(), expected.nan_to_num())
        assert torch.equal(y.isnan(), expected.isnan())
        assert torch.equal(payload, offsets)
        dy = torch.randn(expected.shape).to(dtype)
        dx = library.maxpool2d_bwd(dy, payload, shape, kernel, *options[:3])
        wanted = pooling.maxpool2d_bwd(dy, offsets, shape, kernel, *options[:3])
        assert_close(dx, wanted, rel=1e-6 if dtype is torch.float32 else 1e-2)


def test_slices_of_one_product_are_coded_where_they_lie() -> None:
    qkv = torch.randn(2, 19, 3 * 24)
    for i in range(3):
        part = qkv[:, :, 24 * i : 24 * (i + 1)]
        assert channels.row_stride(part) == 72
        payload = library.quantize_channels(part, 4)
        assert torch.equal(payload, channels.quantize_channels(part.contiguous(), 4))
