"""What people do around `compress`: forward without backward, DDP, one module twice, fp16, torch.compile."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from s2a_core.compression import compress, discover
from s2a_core.compression.discover import uniform_policy
from s2a_core.errors import InvalidInput
from s2a_core.meter import PeakMeter
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close, cosine
from tests.s2a_core.compression.models import PlainNet, bias_only, gradients, small_cnn, small_vit


def _policies(model: nn.Module, x: Tensor) -> dict[str, StoragePolicy]:
    specs = discover(model, x)
    return {
        "exact": StoragePolicy({"nothing:none": Storage.B8}),
        "codes": uniform_policy(specs, 4),
        "regions": uniform_policy(specs, 4, recompute=True, chunk_samples=1),
    }


@pytest.mark.parametrize("way", ["exact", "codes", "regions"])
@pytest.mark.parametrize("build", [small_vit, small_cnn])
def test_a_forward_pass_without_backward_frees_what_it_held(build: Callable[[], nn.Module], way: str) -> None:
    model, x = build(), torch.randn(2, 3, 64, 64)
    policy = _policies(model, x)[way]
    with compress(model, policy):
        model(x)  # tables, and what libraries prepare once
    gc.collect()
    gc.disable()  # reference counts have to be enough
    try:
        with PeakMeter() as meter:
            with compress(model, policy):
                y = model(x)
            del y
        assert meter.peak_bytes > 0
        assert meter.end_bytes <= 0, meter.end_bytes
    finally:
        gc.enable()


def test_the_last_output_is_all_that_keeps_the_graph() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    held: list[weakref.ref[Tensor]] = []
    model.get_submodule("blocks.0").register_forward_hook(lambda m, a, y: held.append(weakref.ref(y)))
    with compress(model, StoragePolicy({"nothing:none": Storage.B8})):
        y = model(x)
    gc.disable()
    try:
        del y
        assert held[0]() is None
    finally:
        gc.enable()


def test_a_module_used_twice_has_two_sites_and_the_right_gradients() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = PlainNet()
            self.head = nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.stack([self.block(x), self.block(x.flip(1) * 0.5)], 1).mean(1))  # type: ignore[no-any-return]

    model, x = bias_only(Shared()), torch.randn(4, 9, 32)
    names = [spec.name for spec in discover(model, x)]
    assert {"block.act:gelu", "block.act:gelu#2", "block.act:gelu#3", "block.act:gelu#4"} <= set(names)
    assert len(names) == len(set(names))
    expected = gradients(model, model(x))
    for policy, least in (
        (StoragePolicy({"nothing:none": Storage.B8}), 1 - 1e-9),
        (StoragePolicy(default=Storage.B8), 0.999),
    ):
        with compress(model, policy):
            y = model(x)
        assert cosine(gradients(model, y), expected) >= least


def test_backward_twice_through_a_retained_graph_gives_the_same_gradient() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    for policy in _policies(model, x).values():
        with compress(model, policy):
            loss = model(x).square().mean()
        trained = [p for p in model.parameters() if p.requires_grad]
        first = torch.autograd.grad(loss, trained, retain_graph=True)
        second = torch.autograd.grad(loss, trained)
        for a, b in zip(first, second, strict=True):
            assert torch.equal(a, b)
        with pytest.raises(RuntimeError, match="second time"):
            torch.autograd.grad(loss, trained)


@pytest.mark.parametrize("way", ["codes", "regions"])
def test_half_precision_models_train(way: str) -> None:
    model, x = small_vit(), torch.randn(4, 3, 64, 64)
    expected = gradients(model, model(x))
    model, x = model.half(), x.half()
    with compress(model, _policies(model, x)[way]):
        y = model(x)
    assert y.dtype == torch.float16
    found = gradients(model, y)
    assert bool(found.isfinite().all())
    assert cosine(found, expected) > 0.99


def test_a_model_that_torch_compile_wrapped_is_refused_and_its_inside_is_taken() -> None:
    model, x = small_vit(1), torch.randn(2, 3, 64, 64)
    wrapped = torch.compile(model, backend="eager")
    assert isinstance(wrapped, nn.Module)
    with pytest.raises(InvalidInput, match="pass the model itself, uncompiled"):
        compress(wrapped, StoragePolicy())
    with compress(model, StoragePolicy(default=Storage.B8), ledger=True) as session:
        model(x)
    assert session.ledger.entries


@pytest.mark.parametrize("compiled", [partial(torch.compile, backend="eager"), torch.jit.script])
def test_a_compiled_module_inside_a_model_is_refused_by_name(compiled: Callable[[nn.Module], nn.Module]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit's own
        model = nn.Sequential(nn.Linear(4, 4), compiled(nn.GELU()))
    for use in (lambda: compress(model, StoragePolicy()), lambda: discover(model, torch.randn(2, 4))):
        with pytest.raises(InvalidInput, match="its module 1 is; pass the model itself"):
            use()


def _rank(rank: int, directory: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{directory}/meeting", rank=rank, world_size=2)
    try:
        model = small_vit()
        x = torch.load(f"{directory}/x.pt", weights_only=True).chunk(2)[rank]
        policies = _policies(model, x)
        parallel = DistributedDataParallel(model)
        for way, policy in policies.items():
            parallel.zero_grad(set_to_none=True)
            with compress(parallel, policy, ledger=True) as session:
                y = parallel(x)
            assert session.ledger.entries
            y.square().mean().backward()
            found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            torch.save(found, f"{directory}/{way}-{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.timeout(180)
def test_two_ranks_under_ddp_share_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    model, x = small_vit(), torch.randn(4, 3, 64, 64)
    torch.save(x, tmp_path / "x.pt")
    expected = gradients(model, model(x))
    mp.spawn(_rank, args=(str(tmp_path),), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    for way, least in (("exact", 1 - 1e-9), ("codes", 0.99), ("regions", 0.99)):
        ranks = [torch.load(tmp_path / f"{way}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        assert torch.equal(*ranks)
        assert cosine(ranks[0], expected) >= least
    assert_close(torch.load(tmp_path / "exact-0.pt", weights_only=True), expected, rel=1e-5)


@pytest.mark.parametrize("policy", ["exact", "codes", "regions"])
def test_weights_that_change_between_forward_and_backward_are_refused_as_by_autograd(policy: str) -> None:
    model, x = small_vit().requires_grad_(True), torch.randn(2, 3, 64, 64)
    for ledger in (False, True):
        with compress(model, _policies(model, x)[policy], ledger=ledger):
            loss = model(x)[0].sum()
        with torch.no_grad():
            model.get_parameter("blocks.0.mlp.fc1.weight").mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@pytest.mark.parametrize("policy", ["exact", "codes", "regions"])
def test_a_model_runs_in_inference_mode(policy: str) -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    session = compress(model, _policies(model, x)[policy])
    with torch.inference_mode(), session:
        y = model(x)
    assert_close(y, model(x), rel=1e-5)


def test_a_model_that_runs_in_another_thread_than_its_session_is_refused() -> None:
    model, x = small_vit(), torch.randn(2, 3, 64, 64)
    with ThreadPoolExecutor(1) as pool, compress(model, StoragePolicy(default=Storage.B8)):
        with pytest.raises(InvalidInput, match="another thread"):
            pool.submit(model, x).result()
        model(x)


def test_sparse_and_nested_tensors_stay_exact() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(64, 64)
            self.register_buffer("neighbours", torch.eye(40).to_sparse())

        def forward(self, x: Tensor) -> Tensor:
            """x: [40, 64]."""
            y = torch.sparse.mm(self.get_buffer("neighbours"), self.inner(x))
            parts = torch.nested.as_nested_tensor([y[:10], y[10:]], layout=torch.jagged)
            return nn.functional.layer_norm(nn.functional.gelu(parts), (64,)).values()

    model, x = Mixer(), torch.randn(40, 64)
    expected = gradients(model, model(x)[:20] * torch.arange(64))
    for ledger in (False, True):
        with compress(model, StoragePolicy(default=Storage.B4), ledger=ledger):
            y = model(x)
        assert_close(gradients(model, y[:20] * torch.arange(64)), expected, rel=1e-5)
