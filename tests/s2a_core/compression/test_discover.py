"""Discovery: sites by name, regions and blocks for families of every kind."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression import discover
from s2a_core.compression.discover import uniform_policy
from s2a_core.storage import WHOLE, Storage
from tests.s2a_core.compression.models import bias_only, small_cnn, small_vit


def test_a_vit_has_two_regions_and_one_block_a_layer() -> None:
    specs = discover(small_vit(2), torch.randn(2, 3, 64, 64))
    assert [s.name for s in specs if s.op == "region"] == [
        f"blocks.{i}.{part}:region" for i in range(2) for part in ("attn", "mlp")
    ]
    assert [s.name for s in specs if s.op == "block"] == ["blocks.0:block", "blocks.1:block"]
    gelu = next(s for s in specs if s.name == "blocks.1.mlp.act:gelu")
    assert (gelu.region, gelu.block) == ("blocks.1.mlp:region", "blocks.1:block")
    assert [s.position for s in specs] == list(range(len(specs)))


def test_a_cnn_offers_exact_storage_for_everything_but_its_blocks() -> None:
    for spec in discover(small_cnn(), torch.randn(2, 3, 64, 64)):
        if spec.op in ("relu", "max_pool2d"):
            assert Storage.MASK in spec.options
        if spec.op in ("conv", "batch_norm"):
            assert Storage.NONE in spec.options


@pytest.mark.parametrize(
    ("name", "size", "num_blocks"),
    [
        ("convnext_atto", 64, 12),
        ("mobilenetv3_small_050", 64, 11),
        ("regnetx_002", 64, 13),
        ("poolformer_s12", 64, 12),
        ("resmlp_12_224", 224, 12),
    ],
)
def test_blocks_are_found_without_knowing_the_family(name: str, size: int, num_blocks: int) -> None:
    model = bias_only(timm.create_model(name, num_classes=3, pretrained=False).eval())
    specs = discover(model, torch.randn(2, 3, size, size))
    assert sum(s.op == "block" for s in specs) == num_blocks


def test_blocks_that_normalise_by_the_batch_are_not_offered() -> None:
    model = small_cnn()
    assert any(s.op == "block" for s in discover(model, torch.randn(2, 3, 64, 64)))
    assert not any(s.op in ("block", "region") for s in discover(model.train(), torch.randn(2, 3, 64, 64)))


def test_a_uniform_policy_takes_masks_where_those_are_exact() -> None:
    specs = discover(small_cnn(), torch.randn(2, 3, 64, 64))
    policy = uniform_policy(specs, 4)
    assert {policy.storage(s.name) for s in specs if s.op == "relu"} == {Storage.MASK}
    assert {policy.storage(s.name) for s in specs if s.op == "conv"} == {Storage.NONE}


def test_a_uniform_policy_keeps_the_layers_of_lora_and_the_head_at_eight_bits() -> None:
    model = timm.create_model("mobilenetv2_035", num_classes=3).eval()
    specs = discover(add_adapters(model, AdapterSpec(("lora",)), 64), torch.randn(2, 3, 64, 64))
    layers = [s for s in specs if s.op == "low_rank_conv"]
    assert len(layers) == 34  # one site a layer: 16 expand, 17 project, 1 is the last before the head
    layers += [s for s in specs if s.name == "classifier:linear"]
    assert len(layers) == 35
    for bits in (4, 8):
        assert {uniform_policy(specs, bits).storage(s.name) for s in layers} == {Storage.B8}


class _Writing(nn.Module):
    """An MLP that counts its calls in a buffer, follows a statistic, or changes its input, as `change` says."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.change = change
        self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)
        self.register_buffer("calls", torch.zeros(()))
        self.norm = nn.InstanceNorm1d(32, track_running_stats=True)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, N, 32]."""
        if self.change == "count":
            self.calls = self.calls + 1
        if self.change == "input":
            x += 1
        y = self.inner(x)
        return self.outer(self.norm(y.mT).mT if self.change == "statistic" else y)  # type: ignore[no-any-return]


@pytest.mark.parametrize("change", ["none", "count", "statistic", "input"])
def test_modules_that_change_their_input_or_their_buffers_are_not_rebuilt(change: str) -> None:
    norms = [nn.Sequential(nn.LayerNorm(32), _Writing(change)) for _ in range(2)]
    specs = discover(nn.Sequential(*norms), torch.randn(3, 5, 32))
    assert any(s.op == "region" for s in specs) is (change == "none")
    if change != "input":  # of the norm, inside of the block
        assert any(s.op == "block" for s in specs) is (change == "none")


class Mixed(nn.Module):
    """A block whose samples see each other in one of the ways that people write it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.norm, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(functional.gelu(self.up(self.norm(x))))
        match self.kind:
            case "mean":
                h = h - h.mean(0)
            case "batch_norm":
                h = functional.batch_norm(h.transpose(1, 2), None, None, training=True).transpose(1, 2)
            case "attention":
                h = functional.scaled_dot_product_attention(h.transpose(0, 1), h.transpose(0, 1), h.transpose(0, 1))
                h = h.transpose(0, 1)
        return x + 1e-6 * h  # as under a layer scale, where no tolerance would see it


@pytest.mark.parametrize("kind", ["apart", "mean", "batch_norm", "attention"])
def test_a_module_whose_samples_see_each_other_is_not_rebuilt_in_chunks(kind: str) -> None:
    model = nn.Sequential(*(Mixed(kind) for _ in range(2)))
    specs = discover(model, torch.randn(3, 5, 16))
    assert any(spec.op in WHOLE for spec in specs) is (kind == "apart")
    assert any(spec.op == "gelu" for spec in specs)


def test_hooks_that_collect_hidden_states_see_one_pass_at_a_time() -> None:
    """As transformers has them: a decoder that counts the states of its encoder."""

    class Collected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(Mixed("apart"), Mixed("apart"))
            for layer in self.layers:
                layer.register_forward_hook(lambda module, args, output: self.states.append(output.detach().mean()))

        def forward(self, x: Tensor) -> Tensor:
            self.states: list[Tensor] = []
            x = self.layers(x)
            assert len(self.states) == len(self.layers)
            return x

    assert discover(Collected(), torch.randn(2, 5, 16))
