"""Sites: one word per operator, exact storages where those exist."""

from __future__ import annotations

import torch

from s2a_core.compression.sites import op_name, options_of, seed_of
from s2a_core.storage import Storage


def test_spellings_of_one_operator_share_a_name() -> None:
    assert op_name(torch.Tensor.__matmul__) == op_name(torch.matmul) == "matmul"


def test_options_begin_with_exact_storage_except_for_what_is_optional() -> None:
    assert options_of("gelu")[0] is Storage.EXACT
    assert options_of("relu") == (Storage.EXACT, Storage.MASK)
    assert options_of("conv") == (Storage.EXACT, Storage.NONE)
    assert Storage.NONE not in options_of("conv", is_frozen=False)
    assert options_of("region")[0] is Storage.NONE


def test_seeds_of_rounding_differ_by_run_step_and_site() -> None:
    sites = [f"blocks.{i}.norm{j}:layer_norm" for i in range(24) for j in (1, 2)]
    seeds = {seed_of(seed, step, site) for seed in (0, 1) for step in range(50) for site in sites}
    assert len(seeds) == 2 * 50 * 48
    assert seed_of(0, 1, "a") == seed_of(0, 1, "a")
