"""The one call that is made in a module's place is the one its own forward makes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from s2a_core.compression import compress
from s2a_core.compression.direct import _CALLS, direct_call
from s2a_core.operators import ROUTES
from s2a_core.operators.signature import bound
from s2a_core.storage import Storage, StoragePolicy


class _Routed(TorchFunctionMode):
    """The calls that an operator stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, dict[str, Any] | None]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ROUTES:
            self.calls.append((func, bound(func, args, kwargs or {})))
        return func(*args, **(kwargs or {}))


_MODULES: dict[type[nn.Module], tuple[list[nn.Module], tuple[int, ...]]] = {
    nn.ReLU: ([nn.ReLU(), nn.ReLU(inplace=True)], (2, 6)),
    nn.SiLU: ([nn.SiLU(), nn.SiLU(inplace=True)], (2, 6)),
    nn.GELU: ([nn.GELU(), nn.GELU(approximate="tanh")], (2, 6)),
    nn.LayerNorm: ([nn.LayerNorm(6, eps=1e-3), nn.LayerNorm(6, elementwise_affine=False)], (2, 6)),
    nn.BatchNorm1d: ([nn.BatchNorm1d(6, eps=1e-3).eval()], (2, 6)),
    nn.BatchNorm2d: ([nn.BatchNorm2d(6, momentum=None).eval(), nn.BatchNorm2d(6, affine=False).eval()], (2, 6, 3, 3)),
    nn.Conv1d: ([nn.Conv1d(6, 4, 3, padding="same"), nn.Conv1d(6, 4, 1, bias=False)], (2, 6, 5)),
    nn.Conv2d: ([nn.Conv2d(6, 4, 3, 2, 1, groups=2), nn.Conv2d(6, 4, 3, dilation=2)], (2, 6, 9, 9)),
}


@pytest.mark.parametrize("kind", _CALLS, ids=lambda kind: kind.__name__)
def test_the_call_is_the_one_of_the_modules_own_forward(kind: type[nn.Module]) -> None:
    modules, shape = _MODULES[kind]
    for module in modules:
        x = torch.randn(shape)
        with _Routed() as own:
            expected = module(x.clone())
        call_of = direct_call(module)
        assert call_of is not None
        call = call_of(module, x)
        assert call is not None
        func, args, kwargs = call
        ((own_func, given),) = own.calls
        assert func is own_func
        mine = bound(func, args, kwargs)
        assert mine is not None
        assert given is not None
        assert mine.keys() == given.keys()
        for name in set(mine) - {"input"}:
            assert mine[name] is given[name] or mine[name] == given[name], name
        assert torch.equal(func(*args, **kwargs), expected)


def test_modules_that_may_make_other_calls_have_none() -> None:
    class Own(nn.ReLU):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    replaced = nn.ReLU()
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    assert direct_call(Own()) is None
    assert direct_call(replaced) is None
    assert direct_call(nn.Linear(2, 2)) is None
    x = torch.randn(2, 3, 4, 4)
    for module in (nn.Conv2d(3, 3, 1, padding_mode="circular"), nn.BatchNorm2d(3)):
        call_of = direct_call(module)
        assert call_of is not None
        assert call_of(module, x) is None


def test_hooks_of_a_module_run_around_its_call() -> None:
    model, seen = nn.Sequential(nn.ReLU(), nn.Linear(64, 64)), []
    model[0].register_forward_hook(lambda *_: seen.append("after"))
    x = torch.randn(2, 64, requires_grad=True)
    with compress(model, StoragePolicy({"0:relu": Storage.MASK})):
        first, again = model(x), model(x)
    assert torch.equal(first, again)
    assert seen == ["after", "after"]
