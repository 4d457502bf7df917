"""Weights as codes: what each product gives, what is saved, and what a model may do with them."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2a_core.errors import InvalidInput
from s2a_core.operators import low_rank_conv, low_rank_linear
from s2a_core.operators.narrow import NarrowWeight
from s2a_core.operators.weight_codes import WeightCodes
from s2a_core.storage import WeightFormat
from tests.assertions import assert_close, relative_rms


class LowRank(nn.Module):
    """A layer with LoRA as peft's modules run it here."""

    def __init__(self, base: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = base.weight, base.bias
        rank, outputs, inputs = 2, *base.weight.shape[:2]
        ones = base.weight.shape[2:]
        self.down, self.up = (
            nn.Parameter(torch.randn(shape)) for shape in ((rank, inputs, *ones), (outputs, rank, *ones))
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            return low_rank_linear(x, self.weight, self.bias, self.down, self.up, 0.5)
        return low_rank_conv(x, self.weight, self.bias, self.down, self.up, 0.5, (2, 2))


FORMATS: tuple[WeightFormat, ...] = ("int8", "nf4")
LAYERS = {
    "linear": (lambda: nn.Linear(96, 64), (3, 7, 96)),
    "linear without bias": (lambda: nn.Linear(96, 64, bias=False), (5, 96)),
    "conv": (lambda: nn.Conv2d(16, 24, 3, stride=2, padding=1), (2, 16, 9, 9)),
    "grouped conv": (lambda: nn.Conv2d(32, 32, 3, padding="same", groups=4), (2, 32, 6, 6)),
    "conv1d": (lambda: nn.Conv1d(16, 48, 5), (2, 16, 20)),
    "embedding": (lambda: nn.Embedding(50, 96), (4, 6)),
    "LoRA": (lambda: LowRank(nn.Linear(96, 64)), (3, 7, 96)),
    "LoRA of a conv": (lambda: LowRank(nn.Conv2d(64, 96, 1)), (2, 64, 5, 5)),
}


def narrowed(weight: Tensor, weight_format: WeightFormat) -> nn.Parameter:
    codes = WeightCodes.of(weight, weight_format)
    return nn.Parameter(NarrowWeight.of(codes.encode(weight), codes), requires_grad=False)


def run(layer: nn.Module, shape: tuple[int, ...]) -> dict[str, Tensor]:
    torch.manual_seed(1)
    x = torch.randint(0, 50, shape) if isinstance(layer, nn.Embedding) else torch.randn(shape, requires_grad=True)
    y = layer(x)
    if y.requires_grad:
        y.square().sum().backward()
    trained = {f"d {name}": parameter.grad for name, parameter in layer.named_parameters() if name != "weight"}
    results = {"y": y.detach(), "dx": x.grad, **trained}
    return {name: value for name, value in results.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("weight_format", [*FORMATS, "float"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_the_same_as_with_the_decoded_weight(name: str, weight_format: WeightFormat) -> None:
    build, shape = LAYERS[name]
    layer = build()
    layer.weight = narrowed(layer.weight.detach(), weight_format)
    stock = copy.deepcopy(layer)
    stock.weight = nn.Parameter(layer.weight.decoded(), requires_grad=False)
    actual, expected = run(layer, shape), run(stock, shape)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        assert_close(actual[key], value, rel=1e-6, what=key)
    assert layer.weight.grad is None


@pytest.mark.parametrize(("weight_format", "most"), [("int8", 0.01), ("nf4", 0.1)])
def test_codes_stand_for_the_weight(weight_format: WeightFormat, most: float) -> None:
    weight = torch.randn(40, 24, 3, 3)
    narrow = narrowed(weight, weight_format)
    assert (narrow.shape, narrow.dtype, narrow.numel()) == (weight.shape, weight.dtype, weight.numel())
    assert relative_rms(narrow.decoded(), weight) < most
    assert narrow.untyped_storage().nbytes() == narrow.nbytes == narrow.codes.num_bytes
    bits = 8 * narrow.nbytes / weight.numel()
    assert bits < (8.3 if weight_format == "int8" else 4.4)


def test_numbers_among_codes_lie_in_the_weights_own_memory_and_follow_its_dtype() -> None:
    weight = torch.randn(64, 96)
    layer = nn.Linear(96, 64)
    layer.weight = narrowed(weight, "float")
    assert layer.weight.data_ptr() == weight.data_ptr() == layer.weight.decoded().data_ptr()
    layer.to(torch.bfloat16)
    assert layer.weight.nbytes == layer.weight.codes.num_bytes == 2 * weight.numel()
    assert torch.equal(layer.weight.decoded(), weight.bfloat16())


@pytest.mark.parametrize("weight_format", FORMATS)
def test_shaken_codes_are_as_far_from_the_codes_as_these_from_the_weight(weight_format: WeightFormat) -> None:
    weight = torch.randn(128, 512)
    narrow = narrowed(weight, weight_format)
    before = narrow.decoded()
    narrow.codes.shake(narrow.payload, torch.Generator().manual_seed(0))
    assert 0.8 < relative_rms(narrow.decoded(), before) / relative_rms(before, weight) < 1.25
    moved = (narrow.decoded() != before).float().mean()
    assert 0.9 / 12 < float(moved) < 1.1 / 12


def test_rows_that_are_too_short_for_four_bits_have_eight() -> None:
    assert WeightCodes.of(torch.randn(64, 1, 3, 3), "nf4").format == "int8"
    assert WeightCodes.of(torch.randn(64, 147), "nf4").group == 49


@pytest.mark.parametrize("with_lora", [False, True])
@pytest.mark.parametrize("weight_format", FORMATS)
def test_nothing_as_wide_as_the_weight_is_saved_for_backward(weight_format: WeightFormat, with_lora: bool) -> None:
    layer: nn.Module = nn.Linear(256, 128)
    if with_lora:
        layer = LowRank(nn.Linear(256, 128))
        layer.down.requires_grad_(False)
        layer.up.requires_grad_(False)
    layer.weight = narrowed(layer.weight.detach(), weight_format)
    saved: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(torch.randn(4, 256, requires_grad=True)).sum().backward()
    low_rank = 4 * 2 * (256 + 128) if with_lora else 0
    assert sum(saved) == layer.weight.nbytes + low_rank


def test_autocast_decides_the_dtype_of_the_product() -> None:
    layer = nn.Linear(96, 64)
    layer.weight = narrowed(layer.weight.detach(), "int8")
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 96)).dtype is torch.bfloat16
    layer.to(torch.bfloat16)
    assert layer.weight.dtype is torch.bfloat16
    assert layer(torch.randn(2, 96, dtype=torch.bfloat16)).dtype is torch.bfloat16


@pytest.mark.parametrize("weight_format", FORMATS)
def test_copies_are_of_the_codes(weight_format: WeightFormat) -> None:
    layer = nn.Linear(96, 64)
    layer.weight = narrowed(layer.weight.detach(), weight_format)
    for other in (copy.deepcopy(layer).weight, pickle.loads(pickle.dumps(layer.weight)), layer.state_dict()["weight"]):
        assert isinstance(other, NarrowWeight)
        assert torch.equal(other.payload, layer.weight.payload)
    copied = copy.deepcopy(layer)
    assert isinstance(copied.weight, nn.Parameter)
    assert copied.weight.data_ptr() != layer.weight.data_ptr()
    assert [name for name, _ in copied.named_parameters()] == ["weight", "bias"]


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.add_(1),
        lambda w: w.data.mul_(2),
        lambda w: w.copy_(torch.zeros(8, 64)),
        lambda w: w.__setitem__(0, 1.0),
        lambda w: setattr(w, "data", torch.zeros(8, 64)),
        lambda w: nn.init.zeros_(w),
    ],
)
def test_writing_to_codes_raises(write: object) -> None:
    weight = narrowed(torch.randn(8, 64), "int8")
    before = weight.payload.clone()
    with pytest.raises(InvalidInput, match="codes"):
        write(weight)  # type: ignore[operator]
    assert torch.equal(weight.payload, before)


def test_any_other_function_is_given_the_decoded_weight() -> None:
    weight = narrowed(torch.randn(8, 64), "nf4")
    dense = weight.decoded()
    assert torch.equal(weight.t() @ weight, dense.t() @ dense)
    assert torch.equal(weight[2], dense[2])
    assert torch.equal(F.normalize(weight), F.normalize(dense))
    assert torch.equal(torch.cat([weight, weight]), torch.cat([dense, dense]))
    assert torch.equal(weight.to(torch.int32), dense.to(torch.int32))


def test_its_shape_answers_as_any_tensors() -> None:
    weight = narrowed(torch.randn(8, 16, 3, 3), "int8")
    dense = weight.decoded()
    for ask in (
        Tensor.dim, Tensor.size, Tensor.numel, len, Tensor.is_floating_point, Tensor.element_size, Tensor.is_contiguous,
        lambda t: (t.shape, t.ndim, t.dtype, t.device, t.is_leaf, t.requires_grad, t.grad, t.size(1)),
        lambda t: (torch.empty_like(t, device="meta").shape, torch.numel(t)),
    ):  # fmt: skip
        assert ask(weight) == ask(dense)  # type: ignore[operator]


@pytest.mark.parametrize("weight_format", ["int8", "nf4"])
def test_moving_a_layer_decodes_nothing(weight_format: WeightFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device has no room for the decoded weight while a model is loaded."""
    layer = nn.Linear(64, 8)
    layer.weight = narrowed(layer.weight, weight_format)
    monkeypatch.setattr(NarrowWeight, "decoded", lambda *args: pytest.fail("a weight was decoded"))
    layer.to("meta")
    assert isinstance(layer.weight, NarrowWeight)
    assert (layer.weight.device.type, layer.weight.shape) == ("meta", (8, 64))
