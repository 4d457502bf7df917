"""Predicted turns are the measured ones, also for plans that no profile ran, and at batches it did not see."""

from __future__ import annotations

import random

import pytest
import timm
import torch
from torch import nn

from s2a_core.planning.memory import held_bytes
from s2a_core.planning.peak import BACKWARD, FORWARD, Peak
from s2a_core.planning.search import plan
from s2a_core.profiling import Profile, profile
from s2a_core.profiling.runs import run_step
from s2a_core.profiling.types import SiteProfile
from s2a_core.storage import WHOLE, Storage, StoragePolicy


@pytest.mark.parametrize("samples", [1, 3, 8])
def test_the_peak_of_mixed_choices_is_predicted(vit: nn.Module, vit_profile: Profile, samples: int) -> None:
    draw = random.Random(samples)
    sites: dict[str, Storage] = {}
    for site in vit_profile.sites:
        offered = [o.storage for o in site.options if site.op != "block" or o.storage is Storage.NONE]
        sites[site.name] = draw.choice(offered)
    x, y = torch.randn(samples, 3, 32, 32), torch.zeros(samples, dtype=torch.long)
    step = run_step(vit.train(), x, y, StoragePolicy(sites, chunk_samples=1), "fp32", is_metered=True)
    assert held_bytes(vit_profile, sites, samples) == pytest.approx(step.held_bytes, rel=0.01)
    turns = [p for p in Peak(vit_profile, samples, accumulates=False).course(sites) if p.phase in (FORWARD, BACKWARD)]
    predicted = max(p.moving for p in turns)
    assert predicted == pytest.approx(step.peak_bytes, rel=0.05)


def test_blocks_whose_codes_spoil_a_token_are_planned_around() -> None:
    # Register tokens start at 1e-6: beside patches in one group of codes they are lost, and the norm behind makes them
    # as large as the others again. Regions start from what that norm returns.
    torch.manual_seed(0)
    model = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=56, depth=2, embed_dim=96, num_classes=5)
    measured = profile(model, 56, 4, name="registers", adapter="full", refine_s=0.0, has_baselines=False)
    of_b8 = {
        site.name: next(o.gradient_error for o in site.options if o.storage is Storage.B8) for site in whole(measured)
    }
    assert min(error for name, error in of_b8.items() if name.endswith(":block")) > 0.02
    assert max(error for name, error in of_b8.items() if name.endswith(":region")) < 0.005
    roomy = plan(measured, 2**40, batch_size=32, has_frontier=False).predicted.peak_bytes
    chosen = plan(measured, int(0.6 * roomy), batch_size=32, has_frontier=False)
    assert chosen.predicted.gradient_error < 0.02
    assert all(storage is Storage.NONE for site, storage in chosen.sites.items() if site.endswith(":block"))


def whole(measured: Profile) -> list[SiteProfile]:
    return [site for site in measured.sites if site.op in WHOLE]
