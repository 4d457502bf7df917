"""Tensors that the model itself keeps for later: known with their turns, and charged once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2a_core.profiling import profile
from s2a_core.profiling.live import LiveTensor, live_in_turns
from s2a_core.profiling.living import live_tensors, without_live
from s2a_core.profiling.types import Segment

SIDE = 32


class Skip(nn.Module):
    """The input of the first activation is used again behind the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc = nn.Linear(SIDE, SIDE), nn.Linear(SIDE, SIDE)
        self.first, self.second, self.last = nn.GELU(), nn.GELU(), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, tokens, SIDE]."""
        x = self.stem(x)
        y = self.second(self.fc(self.first(x)))
        return self.last(y + x)


class TakesGradients(Skip):
    """Runs a backward of its own inside of its forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, tokens, SIDE]."""
        y = super().forward(x)
        if not torch.is_grad_enabled():
            return y
        (slope,) = torch.autograd.grad(y.sum(), self.stem.bias, retain_graph=True)
        return y + slope.mean()


def live_of(model: nn.Module) -> tuple[LiveTensor, ...]:
    example = (torch.randn(4, 64, SIDE), torch.randn(4, 64, SIDE))
    for weight in (model.stem.weight, model.fc.weight):
        weight.requires_grad_(False)
    return profile(
        model, example=example, loss=nn.functional.mse_loss, has_baselines=False, sensitivity_s=0, refine_s=0
    ).live


def test_what_the_model_uses_again_lives_until_then() -> None:
    live = {(tensor.sites, tensor.until): tensor.bytes_per_sample for tensor in live_of(Skip())}
    assert live == {(("first:gelu",), "last:gelu"): 64 * SIDE * 4}


def test_a_model_that_runs_backward_in_its_forward_pass_is_profiled_without() -> None:
    assert live_of(TakesGradients()) == ()


def test_a_tensor_is_in_the_turns_between_its_sites_and_its_last_one() -> None:
    live = live_in_turns("abcde", [LiveTensor(("a", "c"), "d", 8, 4), LiveTensor(("a",), "b", 2, 0)])
    assert live == {"b": {("a",): (4 + 0, 8 + 2)}, "d": {("a", "c"): (4, 8)}}


def test_tensors_go_through_two_batches_and_end_with_the_earlier_turn() -> None:
    small, large = ({(("a",), 0): (until, 8 * n + 4)} for until, n in (("c", 2), ("d", 4)))
    assert live_tensors((2, 4), [small, large], "abcd") == (LiveTensor(("a",), "c", 8, 4),)
    assert live_tensors((2, 4), [{}, large], "abcd") == ()


def test_a_forward_turn_is_less_what_lives_in_it_and_no_site_kept() -> None:
    turns = {"b": (Segment(10, 20, 10, 20, 30, 30), Segment(1, 2, 1, 2, is_backward=True))}
    live = (LiveTensor(("a",), "b", 8, 4),)
    lowered = without_live(turns, live, "ab", keeping=set())
    assert lowered["b"] == (Segment(6, 12, 6, 12, 18, 18), turns["b"][1])
    assert without_live(turns, live, "ab", keeping={"a"}) == turns
