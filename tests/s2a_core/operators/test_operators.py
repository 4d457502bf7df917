"""Every operator of the table on a small module: exact storage is exact, eight bits are near, all is listed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2a_core.compression import Session, compress
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close, cosine
from tests.s2a_core.compression.models import gradients


class Net(nn.Module):
    """conv with a trained bias -> operator -> conv. x: [B, 8, H, W]."""

    def __init__(self, operator: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.before, self.operator, self.after = nn.Conv2d(8, 16, 3, padding=1), operator, nn.LazyConv2d(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.operator(self.before(x)))


class Gated(nn.Module):
    """SwiGLU of channels, then a frozen layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((8, 1, 1), 0.7), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, 1)
        return F.silu(gate) * value * self.scale


class SqueezeExcite(nn.Module):
    """A gate of the pooled map."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3), keepdim=True)).sigmoid()


class MapAttention(nn.Module):
    """Attention by matmul and softmax over positions, normalised queries."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        scores = F.normalize(tokens, dim=-1) @ F.normalize(tokens, dim=-1).transpose(1, 2)
        return ((3 * scores).softmax(-1) @ tokens).transpose(1, 2).reshape(x.shape)


class BatchedProduct(nn.Module):
    """torch.bmm of a map with itself."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        return (torch.bmm(torch.bmm(tokens, tokens.transpose(1, 2)), tokens) / tokens.shape[-1]).reshape(x.shape)


class OverChannels(nn.Module):
    """A norm of the last dimension, over the channels of a map."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


OPERATORS: dict[str, Callable[[], nn.Module | Callable[[Tensor], Tensor]]] = {
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "silu in place": lambda: nn.SiLU(inplace=True),
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "logsigmoid": nn.LogSigmoid,
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.8),
    "hardsigmoid": nn.Hardsigmoid,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "glu": lambda: nn.GLU(1),
    "group_norm": lambda: nn.GroupNorm(4, 16),
    "batch_norm in training": lambda: nn.BatchNorm2d(16),
    "batch_norm, frozen": lambda: nn.BatchNorm2d(16).eval(),
    "layer_norm": lambda: OverChannels(nn.LayerNorm(16)),
    "rms_norm": lambda: OverChannels(nn.RMSNorm(16, eps=1e-6)),
    "swiglu and layer scale": Gated,
    "squeeze and excite": SqueezeExcite,
    "attention by matmul": MapAttention,
    "bmm": BatchedProduct,
    "max_pool2d": lambda: nn.MaxPool2d(3, 2, 1),
    "avg_pool2d": lambda: nn.AvgPool2d(2),
    "adaptive_avg_pool2d": lambda: nn.AdaptiveAvgPool2d(3),
    "interpolate": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "dropout": lambda: nn.Dropout(0.3),
}


def _model(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model, x = Net(OPERATORS[name]()), torch.randn(4, 8, 12, 12)
    with torch.no_grad():
        model(x)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter_name.endswith("bias"))
    return model, x


def _gradient(model: nn.Module, x: Tensor, policy: StoragePolicy | None) -> tuple[Tensor, Session | None]:
    torch.manual_seed(1)
    if policy is None:
        return gradients(model, model(x)), None
    with compress(model, policy, ledger=True) as session:
        y = model(x)
    return gradients(model, y), session


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_match_and_everything_kept_is_listed(name: str) -> None:
    model, x = _model(name)
    expected, _ = _gradient(model, x, None)
    exact, _ = _gradient(model, x, StoragePolicy())
    assert_close(exact, expected, rel=1e-6)
    coded, session = _gradient(model, x, StoragePolicy(default=Storage.B8))
    assert session is not None
    if name != "dropout":  # one bit instead of a byte: another draw of the same generator
        assert cosine(coded, expected) >= 0.999
    assert all(entry.reason for entry in session.ledger.kept_exact)
    largest = max((entry.bytes for entry in session.ledger.kept_exact), default=0)
    assert largest < x.numel() * 4, "a whole map was kept exact"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", OPERATORS)
def test_half_precision_and_channels_last_pass(name: str, dtype: torch.dtype) -> None:
    model, x = _model(name)
    model, x = model.to(dtype), x.to(dtype).to(memory_format=torch.channels_last)
    expected, _ = _gradient(model, x, None)
    coded, _ = _gradient(model, x, StoragePolicy(default=Storage.B8))
    if name != "dropout":
        assert cosine(coded, expected) >= 0.995


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["gelu", "relu", "layer_norm", "group_norm", "max_pool2d", "attention by matmul"])
def test_a_bad_pixel_spoils_its_own_sample_only(name: str, value: float) -> None:
    model, x = _model(name)
    x[2, 3, 5, 5] = value
    with compress(model, StoragePolicy(default=Storage.B4)):
        y = model(x.requires_grad_())
    stock = model(x.detach())
    assert torch.equal(y.isfinite(), stock.isfinite())
    y.nan_to_num().sum().backward()
    assert x.grad is not None
    others = torch.tensor([0, 1, 3])
    assert bool(x.grad[others].isfinite().all())


@pytest.mark.parametrize("shape", [(0, 8, 12, 12), (1, 8, 1, 1), (1, 8, 3, 5), (3, 8, 7, 1)])
@pytest.mark.parametrize("name", ["gelu", "relu", "layer_norm", "silu", "squeeze and excite", "swiglu and layer scale"])
def test_odd_and_empty_maps_pass(name: str, shape: tuple[int, ...]) -> None:
    model, _ = _model(name)
    x = torch.randn(shape)
    with compress(model, StoragePolicy(default=Storage.B8)):
        y = model(x)
    expected = model(x)
    assert_close(y, expected, rel=1e-6)
    y.sum().backward()


def test_an_unsupported_dtype_names_its_site_before_a_kernel_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from s2a_core.errors import UnsupportedSite
    from s2a_core.kernels import backend

    model, x = _model("gelu")
    model, x = model.double(), x.double()
    monkeypatch.setattr(backend, "_pick", lambda *_, **__: pytest.fail("a kernel started"))
    with pytest.raises(UnsupportedSite, match=r"operator:gelu has dtype float64"):
        with compress(model, StoragePolicy({"operator:gelu": Storage.B4})):
            model(x)
