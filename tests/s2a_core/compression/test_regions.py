"""Regions and blocks: same gradients in chunks, random state replayed, nothing but codes held."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression import compress, discover, regions
from s2a_core.meter import PeakMeter
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close
from tests.s2a_core.compression.models import bias_only, gradients, small_vit

REGIONS = (".attn:region", ".mlp:region")


def _policy(model: nn.Module, x: torch.Tensor, op: str, **options: object) -> StoragePolicy:
    sites = {s.name: Storage.B8 for s in discover(model, x) if s.op == op}
    assert sites
    return StoragePolicy(sites=sites, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("op", ["region", "block"])
@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_gradients_match_exact_ones(op: str, chunk: int) -> None:
    model, x = small_vit(), torch.randn(4, 3, 64, 64)
    expected = gradients(model, model(x))
    with compress(model, _policy(model, x, op, chunk_samples=chunk), ledger=True) as session:
        y = model(x)
    assert_close(y, model(x), rel=1e-5)
    assert_close(gradients(model, y), expected, rel=0.03)
    assert all(op in entry.site for entry in session.ledger.entries if "blocks" in entry.site)


def test_a_block_that_normalises_by_the_batch_is_not_run_in_parts() -> None:
    """Planned with resting statistics and trained without: outputs, gradients and running statistics stay stock's."""
    torch.manual_seed(0)
    model, x = timm.create_model("resnet10t", num_classes=5).eval(), torch.randn(4, 3, 64, 64)
    policy = _policy(model, x, "block", chunk_samples=1)
    norm = model.layer1[0].bn1
    start = norm.running_mean.clone()
    model.train()
    expected, statistics = gradients(model, model(x)), norm.running_mean.clone()
    norm.running_mean.copy_(start)
    with compress(model, policy):
        y = model(x)
    assert_close(gradients(model, y), expected, rel=1e-6)
    assert_close(norm.running_mean, statistics, rel=1e-6)


def test_regions_hold_codes_and_one_statistic_a_token() -> None:
    model, x = small_vit(1), torch.randn(2, 3, 64, 64)
    with compress(model, _policy(model, x, "region", chunk_samples=1), ledger=True) as session:
        model(x)
    tokens, channels = 17, 48
    codes_and_scales = 2 * (tokens * channels + 4 * channels)
    rstd = 2 * tokens * 4
    held = session.ledger.bytes_by_site()
    assert held["blocks.0.attn:region"] == codes_and_scales + rstd
    assert held["blocks.0.mlp:region"] == codes_and_scales + rstd


@pytest.mark.parametrize("op", ["region", "block"])
def test_lora_layers_are_rebuilt_with_their_region_and_hold_nothing_of_their_own(op: str) -> None:
    model, x = add_adapters(small_vit(), AdapterSpec(("lora",)), 64), torch.randn(4, 3, 64, 64)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at first: nothing would reach lora_A
            nn.init.normal_(parameter, std=0.02)
    expected = gradients(model, model(x))
    with compress(model, _policy(model, x, op, chunk_samples=3), ledger=True) as session:
        y = model(x)
    assert_close(gradients(model, y), expected, rel=0.03)
    places = {f"blocks.{i}{part}" for i in range(2) for part in ([":block"] if op == "block" else REGIONS)}
    assert {entry.site for entry in session.ledger.entries if "blocks" in entry.site} == places


def test_dropout_inside_a_region_replays_the_forward_mask() -> None:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(16)
            self.inside = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5), nn.Linear(16, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inside(self.norm(x))

    model, x = bias_only(Net()).train(), torch.randn(2, 5, 16)
    policy = StoragePolicy(sites={"inside:region": Storage.B8})
    torch.manual_seed(7)
    with compress(model, policy):
        y = model(x)
    after_forward = torch.get_rng_state()
    got = gradients(model, y)
    assert torch.equal(torch.get_rng_state(), after_forward)
    torch.manual_seed(7)
    assert_close(got, gradients(model, model(x)), rel=0.02)


def test_swin_windows_are_found_through_their_layout_operations() -> None:
    import timm

    model = bias_only(
        timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(2, 2), num_heads=(2, 4), num_classes=3
        )
    ).eval()
    x = torch.randn(2, 3, 56, 56)
    regions = {s.name for s in discover(model, x) if s.op == "region"}
    assert {"layers.0.blocks.0.attn:region", "layers.0.blocks.1.attn:region", "layers.0.blocks.0.mlp:region"} <= regions
    expected = gradients(model, model(x))
    with compress(model, _policy(model, x, "region", chunk_samples=1)):
        y = model(x)
    assert_close(gradients(model, y), expected, rel=0.03)


def test_trainable_weights_inside_a_region_get_their_gradients() -> None:
    model, x = small_vit(1), torch.randn(2, 3, 64, 64)
    for parameter in model.blocks[0].mlp.parameters():  # type: ignore[union-attr, index]
        parameter.requires_grad_(True)
    expected = gradients(model, model(x))
    with compress(model, _policy(model, x, "region", chunk_samples=1)):
        y = model(x)
    assert_close(gradients(model, y), expected, rel=0.03)


def test_autocast_keeps_no_copies_of_a_blocks_weights_once_it_has_run() -> None:
    model, x = small_vit(depth=32).requires_grad_(True), torch.randn(1, 3, 64, 64)
    policy = _policy(model, x, "block")
    for _ in range(2):  # the first pass watches calls
        with torch.autocast("cpu", torch.bfloat16), compress(model, policy), PeakMeter() as meter:
            model(x)
    copies = sum(2 * p.numel() for p in model.blocks.parameters())  # type: ignore[union-attr]
    assert meter.peak_bytes < 0.6 * copies


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("trained", ["", "bias"])
def test_blocks_of_channels_last_maps_are_rebuilt_as_they_lay(chunk: int, trained: str) -> None:
    """ConvNeXt's maps are channels-last by themselves; its layer scale, trained, reads the linear in front of it."""
    torch.manual_seed(0)
    model, x = timm.create_model("convnext_atto", num_classes=5, conv_mlp=False).eval(), torch.randn(3, 3, 64, 64)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)  # near zero, a block's gradients would not be seen in the whole
        parameter.requires_grad_(name.endswith(trained))
    gradients(model, model(x))
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    with compress(model, _policy(model, x, "block", chunk_samples=chunk)):
        y = model(x)
    gradients(model, y)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert_close(parameter.grad, expected[name], rel=0.1)


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_maps_leave_a_block_as_they_lie_without_it(chunk: int) -> None:
    """What is put together of chunks is channels_last as its parts are: later layers would copy and hold other maps."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 4, 3, padding=1)) for _ in range(2)]
    model = nn.Sequential(*blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(5, 4, 6, 7).to(memory_format=torch.channels_last).requires_grad_()
    with compress(model, _policy(model, x, "block", chunk_samples=chunk)):
        y = model(x)
    (dx,) = torch.autograd.grad(y.square().sum(), x)
    stock = model(x)
    (expected,) = torch.autograd.grad(stock.square().sum(), x)
    assert (y.stride(), dx.stride()) == (stock.stride(), expected.stride()) == (x.stride(), x.stride())
    assert_close(dx, expected, rel=0.05)


class _Moved(nn.Module):
    """Adds what it is given beside its input: a table for all samples, or a row for each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, beside: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return self.last(nn.functional.gelu(self.first(x) + beside[0]))


@pytest.mark.parametrize("shape", [(6, 16), (6, 1, 16)])
def test_a_tensor_beside_the_input_as_long_as_the_batch_is_never_cut_wrongly(shape: tuple[int, ...]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.inside = nn.LayerNorm(16), _Moved()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inside(self.norm(x), beside=(beside,))

    beside, model, x = torch.randn(shape), bias_only(Net()), torch.randn(6, 6, 16)
    expected = gradients(model, model(x))
    with compress(model, StoragePolicy(sites={"inside:region": Storage.B8}, chunk_samples=1)):
        y = model(x)
    assert_close(y, model(x), rel=1e-5)
    assert_close(gradients(model, y), expected, rel=0.03)


def test_a_forward_of_the_modules_own_is_used_and_comes_back() -> None:
    model, x = small_vit(1), torch.randn(2, 3, 64, 64)
    block = model.blocks[0]  # type: ignore[index]
    theirs = block.forward
    block.forward = own = lambda x: 2.0 * theirs(x)
    expected = gradients(model, model(x))
    with compress(model, StoragePolicy(sites={"blocks.0:block": Storage.B8})):
        y = model(x)
    assert block.forward is own
    assert_close(gradients(model, y), expected, rel=0.03)


class _Sliced(nn.Module):
    """Returns a part of what it computes, as GhostNet's modules do, or its input."""

    def __init__(self, is_identity: bool) -> None:
        super().__init__()
        self.wide, self.is_identity = nn.Linear(16, 32), is_identity

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape) if self.is_identity else self.wide(x)[..., :16]


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("is_identity", [False, True])
def test_an_output_that_is_a_view_may_be_changed_in_place(chunk: int, is_identity: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.inside, self.last = nn.LayerNorm(16), _Sliced(is_identity), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inside(self.norm(x))
            y += x
            return self.last(y)

    model, x = bias_only(Net()), torch.randn(2, 5, 16)
    expected = gradients(model, model(x))
    with compress(model, StoragePolicy(sites={"inside:region": Storage.B8}, chunk_samples=chunk)):
        y = model(x)
    assert_close(y, model(x), rel=1e-5)
    assert_close(gradients(model, y), expected, rel=0.03)


@pytest.mark.parametrize("op", ["region", "block"])
@pytest.mark.parametrize("narrow", [False, True])
def test_backward_watches_calls_only_where_operands_must_be_matched_and_gives_the_same_gradients(
    op: str, narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    class Counted(regions.ReplayMode):
        def __init__(self, phantom: int = -1) -> None:
            super().__init__(phantom)
            modes.append(phantom)

    monkeypatch.setattr(regions, "ReplayMode", Counted)
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    policy = replace(_policy(model, x, op), frozen_weights="bf16" if narrow else "keep")
    session = compress(model, policy)
    with session:
        seen = gradients(model, model(x))
        in_backward = [phantom for phantom in modes if phantom >= 0]
        assert len(modes) > len(in_backward)
        assert bool(in_backward) == narrow
        num_modes = len(modes)
        again = gradients(model, model(x))
        assert (len(modes) > num_modes) == narrow  # what the first pass showed holds for the next one like it
        assert torch.equal(seen, again)
        learn = regions.RegionCall.learn

        def watch_again(self: regions.RegionCall, mode: regions.ReplayMode) -> None:
            learn(self, mode)
            self.needs_mode = True

        monkeypatch.setattr(regions.RegionCall, "learn", watch_again)
        monkeypatch.setattr(regions.RegionCall, "recall", lambda self: False)
        watched = gradients(model, model(x))
    assert [phantom for phantom in modes if phantom >= 0] != in_backward
    assert torch.equal(seen, watched)


@pytest.mark.parametrize("op", ["region", "block"])
def test_gradient_hooks_of_parameters_run_once(op: str) -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    policy = _policy(model, x, op, chunk_samples=1)
    for parameter in filter(lambda p: p.requires_grad, model.parameters()):
        parameter.register_hook(lambda gradient: -3 * gradient)
    expected = gradients(model, model(x))
    for _ in range(2):
        with compress(model, policy):
            y = model(x)
        assert_close(gradients(model, y), expected, rel=0.03)
