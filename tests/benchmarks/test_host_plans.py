"""Plans whose steps the host's benchmark times: made with nominal errors, and run in their micro-batches."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from benchmarks.host_plans import planned_step, with_nominal_errors
from s2a_core import Plan, profile
from s2a_core.profiling.sensitivity import nominal_error
from tests.s2a_core.compression.models import small_vit


def test_a_planned_step_of_unequal_micro_batches_has_the_gradient_of_the_whole_batch() -> None:
    model = small_vit()
    x, y = torch.randn(5, 3, 64, 64), torch.arange(5) % 2
    measured = profile(model, 64, 2, has_baselines=False, sensitivity_s=0)
    plan = replace(Plan.uniform(measured, 8, 5), micro_batch=2, sites={})
    with torch.autocast("cpu", torch.bfloat16):
        nn.functional.cross_entropy(model(x).float(), y).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    planned_step(model, plan, x, y)()
    seen = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert torch.nn.functional.cosine_similarity(seen, expected, dim=0) > 0.999
    for site in with_nominal_errors(measured).sites:
        assert [o.gradient_error for o in site.options] == [nominal_error(o.storage) for o in site.options]
