"""A prompt starts as the identity and learns without holding anything."""

import pytest
import torch

from s2a_core.adapters.prompt import LowRankPrompt
from s2a_core.meter import held_bytes


def test_a_prompt_starts_as_the_identity_and_both_factors_learn() -> None:
    for shape, first, size in (((9, 8), False, (2, 9, 8)), ((8, 3, 3), True, (2, 8, 3, 3))):
        prompt, x = LowRankPrompt(shape, first, 4), torch.randn(size)
        assert torch.equal(prompt(x), x)
        prompt(x).square().sum().backward()
        assert prompt.B.grad is not None
        assert prompt.B.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("shape", "first"), [((9, 8), False), ((4, 4, 8), False), ((8, 6, 6), True), ((8, 30, 30), True)]
)
def test_a_prompt_holds_nothing(shape: tuple[int, ...], first: bool) -> None:
    prompt, x = LowRankPrompt(shape, first, 4), torch.randn(16, *shape)
    assert held_bytes(prompt, lambda: prompt(x), [x]) == 0


def test_large_maps_share_a_grid_of_positions() -> None:
    prompt = LowRankPrompt((8, 28, 28), True, 4)
    assert sum(p.numel() for p in prompt.parameters()) == 4 * (14 * 14 + 8)
    torch.nn.init.ones_(prompt.B)
    added = prompt(torch.zeros(1, 8, 28, 28))
    assert torch.equal(added[..., ::2, ::2], added[..., 1::2, 1::2])
