"""Packed tensors: every layout comes back in its own shape."""

from __future__ import annotations

import pytest
import torch

from s2a_core.operators.packed import decode, encode, layout_of, lies_by_tokens
from tests.assertions import assert_close


@pytest.mark.parametrize("shape", [(3, 7, 16), (2, 4, 9, 8), (5, 12), (1, 1, 3)])
@pytest.mark.parametrize("layout", ["tokens", "maps"])
def test_a_tensor_comes_back(shape: tuple[int, ...], layout: str) -> None:
    x = torch.randn(shape)
    payload, packed = encode(x, 8, layout)  # type: ignore[arg-type]
    assert_close(decode(payload, packed), x, rel=0.02)


def test_a_channels_last_map_comes_back_as_a_map() -> None:
    x = torch.randn(2, 6, 5, 7).to(memory_format=torch.channels_last)
    for layout in (layout_of(x, "mul"), "maps"):
        decoded = decode(*encode(x, 8, layout))  # type: ignore[arg-type]
        assert decoded.stride() == x.stride()
        assert_close(decoded, x, rel=0.02)


def test_attention_operands_are_token_maps_and_feature_maps_are_not() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert layout_of(x, "matmul") == "tokens"
    assert layout_of(x, "mul") == "maps"


def test_attention_operands_are_coded_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(2, 9, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
    assert all(map(lies_by_tokens, (q, k, v)))
    assert not lies_by_tokens(q.contiguous())
    for x in (q, k, v):
        payload, packed = encode(x, 6, "tokens")
        assert packed.layout == "heads"
        assert payload.untyped_storage().nbytes() == 2 * 9 * 32 * 6 // 8 + 4 * 2 * 32
        assert_close(decode(payload, packed), x, rel=0.03)
