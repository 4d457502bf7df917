"""Side branches start at zero, see pooled channels only, and hold little."""

import pytest
import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.side import SideLadder, SideResidual, pool_channels, small_size
from s2a_core.compression import compress
from s2a_core.errors import BadAdapter
from s2a_core.meter import held_bytes
from s2a_core.storage import Storage, StoragePolicy

FAMILIES = [
    ("vit_tiny_patch16_224", {"img_size": 64}, 64),
    ("swin_tiny_patch4_window7_224", {"img_size": 56, "window_size": 7}, 56),
    ("resnet18", {}, 64),
    ("mobilenetv2_100", {}, 64),
    ("convnext_atto", {}, 64),
]


def adapted(name: str, options: dict[str, object], size: int, kinds: str) -> tuple[nn.Module, torch.Tensor]:
    """(model that trains `kinds`, images)."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **options).train()
    return add_adapters(model, AdapterSpec.parse(kinds), size), torch.randn(4, 3, size, size)


def test_channels_are_averaged_in_neighbouring_groups_also_when_they_do_not_divide() -> None:
    x = torch.arange(12.0).reshape(1, 12)
    assert pool_channels(x, 4, 1).tolist() == [[1.0, 4.0, 7.0, 10.0]]
    assert pool_channels(torch.arange(5.0).reshape(1, 5), 2, -1).tolist() == [[1.0, pytest.approx(11 / 3)]]
    assert pool_channels(torch.ones(1, 2), 3, -1).tolist() == [[1.0, 1.0, 0.0]]
    maps = torch.randn(2, 6, 3, 3)
    assert torch.equal(pool_channels(maps, 3, 1), maps.reshape(2, 3, 2, 3, 3).mean(2))


def test_a_residual_branch_fits_blocks_that_change_size_and_channels() -> None:
    branch = SideResidual((8, 12, 12), (16, 6, 6), channels_first=True, reduction=2)
    x, y = torch.randn(2, 8, 12, 12), torch.randn(2, 16, 6, 6)
    assert torch.equal(branch(x, y), y)
    branch(x, y).square().sum().backward()
    assert all(p.grad is not None for p in branch.parameters())


def test_branches_halve_maps_but_keep_small_ones_whole() -> None:
    sizes = [small_size((8, n, n))[0] for n in (112, 56, 14, 8, 7, 2, 1)]
    assert sizes == [28, 28, 7, 4, 7, 2, 1]


def test_a_ladder_begins_anew_with_every_forward() -> None:
    ladder = SideLadder([(8, 4, 4), (16, 2, 2)], [True, True], features=5, reduction=8)
    nn.init.ones_(ladder.up.weight)
    first, last = torch.randn(2, 8, 4, 4), torch.randn(2, 16, 2, 2)
    results = []
    for _ in range(2):
        ladder.climb(0, first)
        ladder.climb(1, last)
        results.append(ladder.add_to(torch.zeros(2, 5)))
    assert torch.equal(*results)
    assert results[0].abs().sum() > 0


@pytest.mark.parametrize(("name", "options", "size"), FAMILIES)
def test_a_detached_side_holds_at_most_an_eighth_of_stock_bias(
    name: str, options: dict[str, object], size: int
) -> None:
    side, x = adapted(name, options, size, "side-detached")
    bias, _ = adapted(name, options, size, "bias")
    held = held_bytes(side, lambda: side(x), [x])
    stock = held_bytes(bias, lambda: bias(x), [x])
    assert 0 < held <= stock / 8, f"{held} of {stock}"


@pytest.mark.parametrize(("name", "options", "size"), FAMILIES)
@pytest.mark.parametrize("kinds", ["side", "side-detached"])
def test_branches_learn_and_a_detached_one_leaves_the_backbone_without_gradient(
    name: str, options: dict[str, object], size: int, kinds: str
) -> None:
    model, x = adapted(name, options, size, kinds)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert {n for n in trained if ".s2a_side." in f".{n}" or "s2a_ladder" in n}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3)
    y = torch.arange(4)
    losses = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(p.grad is None for n, p in model.named_parameters() if n not in trained)


def test_models_without_blocks_are_refused() -> None:
    for kinds in ("side", "side-detached", "prompt"):
        with pytest.raises(BadAdapter, match="use bias"):
            add_adapters(Plain(), AdapterSpec.parse(kinds), 8)


class Plain(nn.Module):
    """A classifier on raw pixels."""

    pretrained_cfg = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3}

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(192, 5)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


@pytest.mark.parametrize(("name", "options", "size"), [FAMILIES[0], FAMILIES[3]])
@pytest.mark.parametrize("kinds", ["bias,side", "side-detached", "bias,prompt"])
def test_compression_stores_what_branches_need_too(
    name: str, options: dict[str, object], size: int, kinds: str
) -> None:
    torch.manual_seed(0)
    model, x = adapted(name, options, size, kinds)
    model.eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "s2a_" in key:
                parameter.add_(0.05 * torch.randn_like(parameter))

    def gradient(default: Storage) -> torch.Tensor:
        model.zero_grad()
        with compress(model, StoragePolicy(sites={}, default=default)):
            loss = nn.functional.cross_entropy(model(x), torch.arange(4))
        loss.backward()
        return torch.cat([p.grad.flatten() for n, p in model.named_parameters() if p.grad is not None])

    exact = gradient(Storage.EXACT)
    assert torch.nn.functional.cosine_similarity(gradient(Storage.B8), exact, dim=0) > 0.98
