"""Later forward passes are intercepted in watched modules alone, and are what the first one was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2a_core.compression import Session, compress
from s2a_core.compression.discover import discover
from s2a_core.compression.watched import pass_key
from s2a_core.storage import Storage, StoragePolicy, whole_of
from tests.assertions import assert_close


def _vit() -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias") or name.startswith("head"))
    return model


def _policy(model: nn.Module, chosen: Callable[[str], Storage | None], **options: object) -> StoragePolicy:
    """Regions and blocks left out, as plans have them, and what `chosen` says of the other sites."""
    sites = {}
    for spec in discover(model, torch.randn(2, 3, 32, 32)):
        storage = Storage.NONE if whole_of(spec.name) else chosen(spec.op)
        if storage is not None:
            sites[spec.name] = storage
    return StoragePolicy(sites, **options)  # type: ignore[arg-type]


def _gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    model.zero_grad(set_to_none=True)
    model(x).square().mean().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def _calls(session: Session, step: Callable[[], object]) -> int:
    before = session.interceptor.num_calls
    step()
    return session.interceptor.num_calls - before


def test_a_plan_that_keeps_everything_exact_intercepts_nothing_but_the_norm_whose_token_is_picked() -> None:
    model, x, one = _vit(), torch.randn(2, 3, 32, 32), torch.randn(1, 3, 32, 32)
    session = compress(model, _policy(model, lambda op: None))
    with session:
        first = _calls(session, lambda: model(x))
        again = _calls(session, lambda: model(x))
        other = _calls(session, lambda: model(one))
        known = _calls(session, lambda: model(one))
    assert first > 50
    assert other > 50
    assert again == known == 1  # F.layer_norm of the last norm: its first token is all that the head reads
    assert len(session.interceptor.policy.sites) > 0


def test_a_convolutional_plan_that_keeps_everything_exact_intercepts_nothing() -> None:
    model = timm.create_model("test_resnet", num_classes=5).eval()
    x = torch.randn(2, 3, 64, 64)
    session = compress(model, StoragePolicy({"layer1.0:block": Storage.NONE}))
    with session:
        assert _calls(session, lambda: model(x)) > 10
        assert _calls(session, lambda: model(x)) == 0


@pytest.mark.parametrize("options", [{}, {"frozen_weights": "bf16"}])
@pytest.mark.parametrize("op", ["", "gelu", "attention", "layer_norm"])
def test_the_first_pass_and_later_ones_have_the_same_gradients(op: str, options: dict[str, str]) -> None:
    model, x = _vit(), torch.randn(2, 3, 32, 32)
    session = compress(model, _policy(model, lambda name: Storage.B4 if name == op else None, **options))
    with session:
        first, again = _gradients(model, x), _gradients(model, x)
        if not options:  # narrow weights beside wide biases are matched in every product
            assert _calls(session, lambda: model(x)) < 30 < _calls(session, lambda: model(x[:1]))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)


def test_a_pass_keeps_the_same_bytes_whether_it_is_the_first_or_a_later_one() -> None:
    class Pooled(nn.Module):
        """A hooked product, a norm that a token is picked of, a module called in a list."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layers = nn.LayerNorm(64), nn.ModuleList([nn.Sequential(nn.Linear(64, 64), nn.GELU())])
            self.scale = nn.Parameter(torch.ones(64))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x) * self.scale
            return self.norm(x)[:, 0]

    model, x = Pooled(), torch.randn(4, 40, 64)
    session = compress(model, StoragePolicy({":mul": Storage.B4, "layers.0.1:gelu": Storage.B2}))
    sizes = []
    with session:
        for _ in range(3):
            kept: list[int] = []

            def pack(tensor: Tensor, kept: list[int] = kept) -> Tensor:
                kept.append(tensor.nbytes)
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                model(x)
            sizes.append(kept)
    assert sizes[0] == sizes[1] == sizes[2]
    assert len(sizes[0]) > 3


def test_sites_of_hooked_operators_are_coded_in_every_pass() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x) * self.first(x).tanh())

    torch.manual_seed(0)
    model, x = Scales(), torch.randn(4, 40, 64)
    exact = _gradients(model, x)
    session = compress(model, StoragePolicy({":mul": Storage.B4}))
    with session:
        first, again = _gradients(model, x), _gradients(model, x)
    for one, other, right in zip(first, again, exact, strict=True):
        assert torch.equal(one, other)
        assert one.shape == right.shape
    assert not torch.equal(first[0], exact[0])


def test_a_norm_whose_output_waits_is_deferred_in_every_pass() -> None:
    class Two(nn.Module):
        """Both norms stand before either of their outputs is used."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.first, self.second = (
                nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8),
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.a(x), self.b(x)
            return self.first(a) + self.second(b)

    model, x = Two(), torch.randn(2, 5, 8)
    session = compress(model, StoragePolicy({"first:region": Storage.NONE}))
    with session:
        expected = model(x)
        assert_close(model(x), expected, rel=1e-6)
        (watched,) = session.interceptor._learned.values()
    assert watched.deferred == {"a:layer_norm", "b:layer_norm"}


def test_what_is_called_outside_of_the_whole_model_is_intercepted_as_a_whole() -> None:
    model, x = _vit(), torch.randn(2, 3, 32, 32)
    session = compress(model, _policy(model, lambda op: Storage.B4 if op == "gelu" else None))
    with session:
        model(x)
        model(x)
        calls = _calls(session, lambda: model.forward_features(x))
    assert calls > 40


def test_a_pass_that_fails_teaches_nothing_and_leaves_the_session_whole() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.fails = nn.GELU(), True

        def forward(self, x: Tensor) -> Tensor:
            if self.fails:
                raise RuntimeError("once")
            return self.act(x)

    model, x = Fails(), torch.randn(2, 64, requires_grad=True)
    session = compress(model, StoragePolicy({"act:gelu": Storage.B4}))
    with session:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="once"):
                model(x)
        assert not session.interceptor._learned
        model.fails = False
        first, again = model(x), model(x)
        model.fails = True
        with pytest.raises(RuntimeError, match="once"):
            model(x)
        assert session.interceptor.is_on
    assert torch.equal(first, again)
    assert torch._C._len_torch_function_stack() == 0
    assert "forward" not in vars(model.act)


def test_a_mode_that_the_model_puts_on_top_stays_there() -> None:
    class OnDevice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.inner = nn.GELU(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            with torch.device("meta"):
                y = self.inner(F.gelu(x))
                assert torch.empty(1).is_meta
            assert not torch.empty(1).is_meta
            return self.act(y)

    model, x = OnDevice(), torch.randn(2, 64, requires_grad=True)
    policy = StoragePolicy({"act:gelu": Storage.B4, ":gelu": Storage.B4, "inner:gelu": Storage.B4})
    with compress(model, policy):
        first, again = model(x), model(x)
    assert torch.equal(first, again)
    assert torch._C._len_torch_function_stack() == 0


def test_a_model_that_calls_itself_runs_as_it_is() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.GELU()

        def forward(self, x: Tensor, again: bool = True) -> Tensor:
            return self.act(self(x, again=False)) if again else self.act(x) + 1

    model, x = Twice(), torch.randn(2, 64, requires_grad=True)
    expected = model(x)
    with compress(model, StoragePolicy({"act:gelu": Storage.B4})):
        for _ in range(3):
            assert_close(model(x), expected, rel=1e-6)


def test_a_pass_is_known_by_its_shapes_and_modes_and_not_where_it_has_other_inputs() -> None:
    x = torch.randn(2, 3)
    key = pass_key((x, {"mask": None, "sizes": [1, 2]}), True)
    assert key == pass_key((torch.randn(2, 3), {"mask": None, "sizes": [1, 2]}), True)
    assert pass_key((x, {"mask": x, "sizes": [1, 2]}), True) != key
    assert pass_key((x, {"mask": None, "sizes": [1, 3]}), True) != key
    assert pass_key((x, {"mask": None, "sizes": [1, 2]}), False) != key
    assert pass_key((x, 1), True) != pass_key((x, True), True)
    with torch.no_grad():
        assert pass_key((x,), True) != pass_key((x.clone().requires_grad_(),), True)
    plain = pass_key((x,), True)
    with torch.autocast("cpu", torch.bfloat16):
        assert pass_key((x,), True) != plain
    assert pass_key((x, object()), True) is None
    assert pass_key((nn.Parameter(x),), True) is None
