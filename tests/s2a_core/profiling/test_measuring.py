"""Predicted turns are the measured ones, also for plans that no profile ran, and at batches it did not see."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from s2a_core.planning.memory import held_bytes
from s2a_core.planning.peak import BACKWARD, FORWARD, Peak
from s2a_core.profiling import Profile
from s2a_core.profiling.runs import run_step
from s2a_core.storage import Storage, StoragePolicy


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
