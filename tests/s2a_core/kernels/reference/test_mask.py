import pytest
import torch

from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.mask import NAMES, bounds, evaluate, mask_bwd, mask_fwd


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", NAMES)
def test_one_bit_gives_the_exact_gradient(name: str, order: torch.memory_format, dtype: torch.dtype) -> None:
    x = (torch.randn(2, 5, 6, 7) * 4).to(dtype).contiguous(memory_format=order)
    x[0, 0, 0, :6] = torch.tensor([0.0, -0.0, 6.0, -3.0, 3.0, float("inf")])
    leaf = x.clone().requires_grad_()
    dy = torch.randn(2, 5, 6, 7).to(dtype)
    (expected,) = torch.autograd.grad(evaluate(leaf, name, (), False), leaf, dy)
    y, bits = mask_fwd(x, name)
    assert torch.equal(y, evaluate(x, name, (), False))
    assert bits.untyped_storage().nbytes() == packed_bytes(420, 1)
    assert torch.allclose(mask_bwd(dy, bits, name), expected, rtol=1e-2 if dtype is not torch.float32 else 1e-6)


def test_in_place_overwrites_its_input() -> None:
    x = torch.randn(9)
    kept = x.clone()
    y, bits = mask_fwd(x, "relu", inplace=True)
    assert y.data_ptr() == x.data_ptr()
    assert torch.equal(mask_bwd(torch.ones(9), bits, "relu"), (kept > 0).float())


def test_parameters_are_those_of_the_operator() -> None:
    x = torch.tensor([-2.0, -0.5, 0.5, 2.0])
    assert mask_bwd(
        torch.ones(4), mask_fwd(x, "leaky_relu", (0.2,))[1], "leaky_relu", (0.2,)
    ).tolist() == pytest.approx([0.2, 0.2, 1.0, 1.0])
    assert mask_bwd(torch.ones(4), mask_fwd(x, "hardtanh", (-1.0, 0.6))[1], "hardtanh").tolist() == [0.0, 1.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="no mask for 'gelu'"):
        bounds("gelu", ())


def test_nothing_passes() -> None:
    y, bits = mask_fwd(torch.empty(0, 3), "relu6")
    assert mask_bwd(y, bits, "relu6").shape == (0, 3)
