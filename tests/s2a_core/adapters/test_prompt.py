"""A prompt starts as the identity and learns without holding anything."""

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


def test_a_prompt_holds_nothing_that_grows_with_the_batch() -> None:
    prompt = LowRankPrompt((9, 8), False, 4)
    small, large = torch.randn(2, 9, 8), torch.randn(64, 9, 8)
    assert held_bytes(prompt, lambda: prompt(small), [small]) == held_bytes(prompt, lambda: prompt(large), [large])
