import pytest
import torch

from s2a_core.kernels.reference import nf4 as reference
from s2a_core.kernels.triton_kernels import nf4
from tests.assertions import assert_close


@pytest.mark.parametrize("shape", [(33, 64), (0, 64), (1, 1), (7, 9), (5, 49)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_are_those_of_the_reference(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> None:
    payload = reference.quantize_nf4(torch.randn(shape))
    decoded = nf4.dequantize_nf4(payload.to(device), *shape, dtype).cpu()
    expected = reference.dequantize_nf4(payload, *shape, dtype)
    if dtype is torch.bfloat16:  # the interpreter cuts what a GPU rounds
        assert_close(decoded, expected, rel=5e-3)
    else:
        assert torch.equal(decoded, expected)
