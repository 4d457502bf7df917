"""Pending norms: same values as an eager norm, whatever touches them, and no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from s2a_core.compression import compress
from s2a_core.errors import UnsupportedSite
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close

_LAZY = StoragePolicy(sites={"any": Storage.B4})


class _TakesClassToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)[:, 0]


class _MixesChannels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x).transpose(1, 2).reshape(x.shape[0], -1)


def test_a_picked_class_token_keeps_the_other_tokens_free() -> None:
    model, x = _TakesClassToken(), torch.randn(2, 50, 64, requires_grad=True)
    expected = model(x)
    with compress(model, _LAZY, ledger=True) as session:
        y = model(x * 1.0)
    assert_close(y, expected, rel=1e-6)
    assert session.ledger.total_bytes < 50 * 64 * 4


_CHANGES: dict[str, Callable[[torch.Tensor], object]] = {
    "x.mul_(y)": lambda x: x.mul_(3.0),
    "x += y": lambda x: x.__iadd__(1.0),
    "x[:, 0] = y": lambda x: x.__setitem__((slice(None), 0), 0.0),
    "relu(inplace=True)": lambda x: F.relu(x, inplace=True),
    "hardswish(x, True)": lambda x: F.hardswish(x, True),
    "dropout(x, 1.0, True, True)": lambda x: F.dropout(x, 1.0, True, True),
    "out=": lambda x: torch.neg(x, out=x),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_every_way_to_change_the_input_in_place_evaluates_the_norm_first(change: str) -> None:
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * 1.0
            y = self.norm(x)
            _CHANGES[change](x)
            return y + x

    model, x = Changes(), torch.randn(2, 5, 8)
    expected = model(x)
    with compress(model, _LAZY):
        assert_close(model(x), expected, rel=1e-6)


def test_a_change_that_nothing_sees_is_an_error_and_no_wrong_value() -> None:
    class ChangesUnseen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm(x)
            with torch._C.DisableTorchFunction():
                x.mul_(2.0)
            return y.exp()

    model = ChangesUnseen()
    with pytest.raises(UnsupportedSite, match="norm:layer_norm: what it normalises was changed in place"):
        with torch.no_grad(), compress(model, _LAZY):
            model(torch.randn(2, 5, 8))


def test_operations_that_mix_channels_evaluate_the_norm() -> None:
    model, x = _MixesChannels(), torch.randn(2, 5, 8)
    expected = model(x)
    with compress(model, _LAZY):
        y = model(x)
    assert type(y) is torch.Tensor
    assert_close(y, expected, rel=1e-6)


def test_a_returned_pending_norm_is_evaluated() -> None:
    model, x = nn.Sequential(nn.LayerNorm(8)), torch.randn(2, 5, 8)
    with compress(model, _LAZY):
        y = model(x)
    assert type(y) is torch.Tensor
    assert_close(y, model(x), rel=1e-6)


def test_a_pending_norm_inside_an_output_of_transformers_is_evaluated() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)

        def forward(self, x: Tensor) -> BaseModelOutput:
            return BaseModelOutput(last_hidden_state=self.norm(x), hidden_states=(x,))

    model, x = Encoder(), torch.randn(2, 5, 8)
    with compress(model, _LAZY):
        output = model(x)
    assert isinstance(output, BaseModelOutput)
    assert type(output.last_hidden_state) is torch.Tensor
    assert output["last_hidden_state"] is output.last_hidden_state
    assert_close(output.last_hidden_state, model.norm(x), rel=1e-6)
