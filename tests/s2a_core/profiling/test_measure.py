"""A profile says what is really stored, and leaves the model as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.errors import InvalidInput, OutOfMemory
from s2a_core.models import load_model
from s2a_core.planning.memory import held_bytes
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import Profile, profile
from s2a_core.profiling.runs import run_step
from s2a_core.storage import Storage, StoragePolicy


@pytest.mark.parametrize("width", [Storage.B3, Storage.B4, Storage.B6])
def test_bytes_of_every_width_agree_with_the_ledger(vit: nn.Module, vit_profile: Profile, width: Storage) -> None:
    sites = {}
    for site in vit_profile.sites:
        offered = {o.storage for o in site.options}
        default = Storage.NONE if site.op in ("region", "block") else Storage.EXACT
        sites[site.name] = width if width in offered and site.op not in ("region", "block") else default
    x, y = torch.randn(8, 3, 32, 32), torch.zeros(8, dtype=torch.long)
    held = run_step(vit.train(), x, y, StoragePolicy(sites), "fp32", is_metered=False).held_bytes
    assert held_bytes(vit_profile, sites, 8) == pytest.approx(held, rel=0.01)


def test_fewer_bits_never_cost_more_and_err_more(vit_profile: Profile) -> None:
    for site in vit_profile.sites:
        coded = [o for o in site.options if o.storage.bits]
        sizes, errors = [o.bytes_per_sample for o in coded], [o.gradient_error for o in coded]
        assert sizes == sorted(sizes, reverse=True)
        assert errors == sorted(errors)
        assert all(e >= 0 for e in errors)


def test_the_model_is_left_as_it_was(vit: nn.Module) -> None:
    before = {k: v.clone() for k, v in vit.state_dict().items()}
    flags = [p.requires_grad for p in vit.parameters()]
    was_training = vit.training
    found = profile(vit, 32, 2, has_baselines=False, refine_s=0.0)
    assert all(torch.equal(v, before[k]) for k, v in vit.state_dict().items())
    assert [p.requires_grad for p in vit.parameters()] == flags
    assert all(p.grad is None for p in vit.parameters())
    assert vit.training == was_training
    assert found.calibrated_on == "noise"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_is_not_told_as_a_bad_image_size(vit: nn.Module, error: RuntimeError) -> None:
    def fail(module: nn.Module, args: object) -> None:
        raise error

    handle = vit.register_forward_pre_hook(fail)
    try:
        with pytest.raises(OutOfMemory, match=r"(?i)ran out of memory while the model was profiled.*tried to allocate"):
            profile(vit, 32, 2, has_baselines=False)
    finally:
        handle.remove()


def test_what_a_step_takes_whatever_its_samples_is_a_part_of_it(vit_profile: Profile) -> None:
    assert 0 <= vit_profile.step_overhead_ms <= 1.5 * vit_profile.step_ms_per_sample * vit_profile.chunk_samples


def test_weights_and_optimizer_are_known_before_anything_runs(vit: nn.Module, vit_profile: Profile) -> None:
    steps: list[str] = []
    vit.register_forward_hook(lambda *call: steps.append("ran"))
    alone = profile(vit, 32, 4, name="small", adapter="bias", is_possible=lambda of_weights: False)
    assert (alone.sites, steps) == ((), [])
    assert 0 < smallest_budget(alone, 8) < smallest_budget(vit_profile, 8)
    assert (alone.params_bytes, alone.state_bytes) == (vit_profile.params_bytes, vit_profile.state_bytes)


def test_baselines_are_in_the_profile(vit_profile: Profile) -> None:
    sizes = {b.name: b.fixed_bytes + 64 * b.bytes_per_sample for b in vit_profile.baselines}
    assert set(sizes) == {"full", "lora", "bias", "bias + checkpointing"}
    assert sizes["full"] > sizes["bias"]


def test_a_network_that_normalises_by_the_batch_is_trained_on_batches_worth_it() -> None:
    """From random weights BatchNorm estimates statistics; with pretrained ones it rests, and one sample will do."""
    network = load_model("test_resnet", "none", 5)
    assert profile(network, 64, 2, adapter="full", has_baselines=False, refine_s=0.0).min_micro_batch == 16
    network = load_model("test_resnet", "none", 5)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean += 1
    assert profile(network, 64, 2, adapter="full", has_baselines=False, refine_s=0.0).min_micro_batch == 1


def test_one_sample_is_enough_with_times_and_errors_and_its_bytes_are_the_samples(vit: nn.Module) -> None:
    one, two = (profile(vit, 32, n, has_baselines=False, sensitivity_s=1.0, refine_s=0.0) for n in (1, 2))
    assert (one.chunk_samples, one.step_overhead_ms) == (1, 0.0)
    assert one.step_ms_per_sample > 0
    held = [sum(site.options[-1].bytes_per_sample for site in of.sites) for of in (one, two)]
    assert held[0] >= held[1]


def test_bad_requests_are_refused(vit: nn.Module) -> None:
    with pytest.raises(InvalidInput, match="precision"):
        profile(vit, 32, 4, "fp64")
    with pytest.raises(InvalidInput, match="at least 1"):
        profile(vit, 32, 0)
    with pytest.raises(InvalidInput, match="33 pixels"):
        profile(vit, 33, 2, has_baselines=False)
    with pytest.raises(InvalidInput, match="no trainable"):
        profile(vit.requires_grad_(False), 32, 2)


def test_a_model_that_refuses_one_sample_is_profiled_with_more() -> None:
    network = add_adapters(load_model("test_resnet", "none", 5), AdapterSpec(("bias",)), 32)
    found = profile(network, 32, 2, adapter="bias", sensitivity_s=0.0, refine_s=0.0)
    assert (found.chunk_samples, found.min_micro_batch) == (3, 1)
    assert {"full", "bias"} <= {baseline.name for baseline in found.baselines}
