"""The session: gradients under every storage, sites by name, a ledger that agrees with an independent meter."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import timm
import torch
from torch import nn

from s2a_core.compression import compress, discover
from s2a_core.compression.discover import uniform_policy
from s2a_core.errors import InvalidInput, UnsupportedSite
from s2a_core.meter import PeakMeter, held_bytes
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close
from tests.s2a_core.compression.models import PlainNet, gradients, small_cnn, small_vit


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.nn.functional.cosine_similarity(a, b, dim=0).item()


def test_exact_storage_gives_stock_gradients() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    expected = gradients(model, model(x))
    with compress(model, StoragePolicy()):
        y = model(x)
    assert_close(gradients(model, y), expected, rel=1e-6)


def test_gradient_error_falls_with_bits() -> None:
    model, x = small_vit(), torch.randn(4, 3, 64, 64)
    specs = discover(model, x[:2])
    expected = gradients(model, model(x))
    cosines = []
    for bits in (2, 4, 8):
        with compress(model, uniform_policy(specs, bits)):
            y = model(x)
        cosines.append(_cosine(gradients(model, y), expected))
    assert cosines[0] < cosines[1] < cosines[2]
    assert cosines[2] > 0.999


def test_frozen_cnn_keeps_masks_only_and_its_gradients_stay_exact() -> None:
    model, x = small_cnn(), torch.randn(2, 3, 64, 64)
    expected = gradients(model, model(x))
    stock = held_bytes(model, lambda: model(x), [x])
    specs = discover(model, x)
    with compress(model, uniform_policy(specs, 4), ledger=True) as session:
        y = model(x)
    assert_close(gradients(model, y), expected, rel=1e-5)
    assert session.ledger.total_bytes * 20 < stock


def test_ledger_agrees_with_a_live_storage_meter() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    policy = uniform_policy(discover(model, x), 4)
    totals: list[int] = []

    def forward() -> torch.Tensor:
        with compress(model, policy, ledger=True) as session:
            y = model(x)
        totals.append(session.ledger.total_bytes)
        return y

    measured = held_bytes(model, forward, [x])
    assert abs(measured - totals[0]) <= 0.001 * measured


def test_a_module_that_is_not_from_timm_is_covered() -> None:
    model, x = PlainNet(), torch.randn(3, 7, 32)
    specs = discover(model, x)
    names = [s.name for s in specs]
    assert {"act:gelu", "act:gelu#2", ":relu"} <= set(names)
    expected = gradients(model, model(x))
    with compress(model, uniform_policy(specs, 8)):
        y = model(x)
    assert _cosine(gradients(model, y), expected) > 0.999


def test_evaluation_stores_nothing() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    policy = uniform_policy(discover(model, x), 4)
    with torch.no_grad(), compress(model, policy, ledger=True) as session:
        y = model(x)
    assert session.ledger.total_bytes == 0
    with torch.no_grad():
        assert_close(y, model(x), rel=1e-5)


def test_the_model_is_as_it_was_after_the_session() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    specs = discover(model, x)
    with compress(model, uniform_policy(specs, 4, recompute=True)):
        model(x)
    assert all("forward" not in vars(m) and not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_unsupported_dtype_is_refused_by_site_name() -> None:
    model, x = PlainNet().double(), torch.randn(2, 5, 32, dtype=torch.float64)
    with (
        pytest.raises(UnsupportedSite, match=r":layer_norm has dtype float64"),
        compress(model, StoragePolicy(default=Storage.B4)),
    ):
        model(x)


def test_a_compiled_model_is_refused_with_advice() -> None:
    class Compiled(nn.Module):
        _orig_mod = PlainNet()

    with pytest.raises(InvalidInput, match=r"torch\.compile"):
        compress(Compiled(), StoragePolicy())


def test_a_second_backward_through_packed_storage_is_refused() -> None:
    model, x = small_vit(1), torch.randn(2, 3, 64, 64)
    with compress(model, uniform_policy(discover(model, x), 4)):
        loss = model(x).square().mean()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    total = torch.stack([g.sum() for g in torch.autograd.grad(loss, trained, create_graph=True)]).sum()
    with pytest.raises(RuntimeError, match="once_differentiable"):
        total.backward()


def test_gradients_accumulate_over_several_forwards_in_one_session() -> None:
    model = small_vit(1)
    a, b = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    specs = discover(model, a)
    with compress(model, uniform_policy(specs, 8)):
        total = gradients(model, torch.cat([model(a), model(b)]))
    with compress(model, uniform_policy(specs, 8)):
        both = gradients(model, model(torch.cat([a, b])))
    assert _cosine(total, both) > 0.999


def test_every_forward_of_a_session_keeps_the_same() -> None:
    model = small_vit(1)
    policy = uniform_policy(discover(model, torch.randn(2, 3, 64, 64)), 8)
    held = []
    with compress(model, policy, ledger=True) as session:
        for _ in range(4):
            before = session.ledger.total_bytes
            gradients(model, model(torch.randn(2, 3, 64, 64)))
            held.append(session.ledger.total_bytes - before)
    assert len(set(held)) == 1


def test_autocast_runs_inside_a_session() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    specs = discover(model, x, "bf16")
    with torch.autocast("cpu", torch.bfloat16):
        expected = gradients(model, model(x))
        with compress(model, uniform_policy(specs, 8, recompute=True, frozen_weights="bf16")):
            y = model(x)
    assert _cosine(gradients(model, y), expected) > 0.99


def test_codes_are_gone_after_backward_although_the_session_is_not() -> None:
    model, x = small_vit().requires_grad_(True), torch.randn(4, 3, 64, 64)
    policy = uniform_policy(discover(model, x), 8)
    with PeakMeter() as meter:
        with compress(model, policy, ledger=True) as session:
            y = model(x)
        assert session.ledger.bytes_by_site()["blocks.0.mlp.fc1:linear"] > 0
        y.sum().backward()
        del y
    gradients = sum(p.grad.untyped_storage().nbytes() for p in model.parameters() if p.grad is not None)
    assert meter.end_bytes < gradients + 4096


def test_a_session_entered_in_every_step_trains_as_one_made_for_each() -> None:
    losses = []
    for is_shared in (True, False):
        model, x = small_vit(1), torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        policy = uniform_policy(discover(model, x), 4, recompute=True, chunk_samples=2)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        session = compress(model, policy)
        for _ in range(20):
            with session if is_shared else compress(model, policy):
                loss = model(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[:20] == pytest.approx(losses[20:], rel=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_200_steps_in_one_open_session_train_as_with_one_for_each_micro_batch() -> None:
    """Batches of 5 in micro-batches of 2, 2 and 1: what each sample counts is the same in all of them."""
    data = torch.Generator().manual_seed(0)
    batches = [torch.randn(5, 3, 16, 16, generator=data) for _ in range(4)]
    targets = [torch.randn(5, 4, generator=data) for _ in range(4)]
    losses: dict[str, list[float]] = {"open": [], "each": [], "whole batches": []}
    for kind, of_kind in losses.items():
        torch.manual_seed(0)
        model = timm.create_model(
            "vit_tiny_patch16_224", img_size=16, patch_size=8, depth=1, embed_dim=16, num_heads=2, num_classes=4
        )
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias") or name.startswith("head"))
        policy = uniform_policy(discover(model, batches[0]), 8, recompute=True, chunk_samples=1)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
        open_session = compress(model, policy) if kind == "open" else nullcontext()
        with open_session:
            for step in range(20 if kind == "whole batches" else 200):
                x, y = batches[step % 4], targets[step % 4]
                loss = 0.0
                for rows in [slice(0, 5)] if kind == "whole batches" else [slice(0, 2), slice(2, 4), slice(4, 5)]:
                    with nullcontext() if kind == "open" else compress(model, policy):
                        part = (model(x[rows]) - y[rows]).square().mean() * (len(x[rows]) / 5)
                    part.backward()
                    loss += part.item()
                optimizer.step()
                optimizer.zero_grad()
                of_kind.append(loss)
    assert losses["open"] == pytest.approx(losses["each"], rel=1e-6)
    assert losses["whole batches"] == pytest.approx(losses["each"][:20], rel=1e-3)
    assert losses["each"][-1] < 0.5 * losses["each"][0]


def test_entering_a_session_again_walks_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = small_vit(1), torch.randn(2, 3, 64, 64)
    session = compress(model, uniform_policy(discover(model, x), 4, recompute=True))
    with session:
        model(x)
    for name in ("named_modules", "named_parameters", "register_forward_hook", "register_forward_pre_hook"):
        monkeypatch.setattr(nn.Module, name, lambda *_, **__: pytest.fail("the model is walked"))
    with session:
        model(x)


def test_a_ledger_is_kept_only_where_it_was_asked_for() -> None:
    with pytest.raises(InvalidInput, match="ledger=True"):
        _ = compress(small_vit(1), StoragePolicy()).ledger
