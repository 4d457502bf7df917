"""s2a as a contestant: bias tuning under `compress`, with uniform policies and with plans for a budget."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from benchmarks.contestants import OURS, Contestant, Runner, bias
from s2a_core.compression import compress, discover
from s2a_core.storage import FrozenWeights, Storage, StoragePolicy

# What costs least without any error, best first.
FREE = (Storage.NONE, Storage.MASK)
# Samples a region or block works on at once. Of a step of ViT-B in bf16 with regions, over bias + checkpointing, on two
# cores: 1.4x with one, 1.3x with four, 1.05x with eight, when the matrices are as large as the library likes them.
CHUNK = 8


def policy(model: nn.Module, x: Tensor, bits: int, whole: str = "region") -> StoragePolicy:
    """Every region (or every block, with whole="block"; or neither, "codes") at `bits`, `CHUNK` samples at a time.

    Sites outside use what is exact and free where there is such a storage, else codes of at most four bits. A planner's
    mixed plan is better; this one is uniform so that it compares with other uniform methods.
    """
    code, small = Storage(f"b{bits}"), Storage(f"b{min(bits, 4)}")
    wanted = discover(model, x, precision="bf16" if x.dtype == torch.bfloat16 else "fp32")
    has_blocks = any(site.op == "block" for site in wanted)
    chosen: dict[str, Storage] = {}
    for site in wanted:
        if site.op in ("region", "block"):
            used = site.op == whole or (whole == "block" and not has_blocks)
            chosen[site.name] = code if used and code in site.options else Storage.NONE
        else:
            # the head's input: kilobytes, and what its own gradient is made of
            chosen[site.name] = Storage.EXACT if site.op == "linear" else cheapest(site.options, small)
    frozen: FrozenWeights = "bf16" if x.dtype == torch.bfloat16 else "keep"
    return StoragePolicy(chosen, Storage.EXACT, chunk_samples=CHUNK, frozen_weights=frozen)


def cheapest(options: Iterable[Storage], code: Storage) -> Storage:
    """The exact storage that costs nothing or one bit, else `code`, else exact."""
    for storage in (*FREE, code):
        if storage in options:
            return storage
    return Storage.EXACT


def uniform(name: str, bits: int, whole: str) -> Contestant:
    """A contestant with one uniform policy."""

    def build(model: nn.Module, x: Tensor) -> Runner:
        runner = bias(model, x)
        chosen = policy(runner.model, x, bits, whole)
        return Runner(runner.model, lambda: compress(runner.model, chosen))

    return Contestant(name, OURS, build, "bias")


UNIFORM = (
    uniform("s2a bias, codes 4 bit", 4, "codes"),
    uniform("s2a bias, codes 2 bit", 2, "codes"),
    uniform("s2a bias, regions 4 bit", 4, "region"),
    uniform("s2a bias, regions 6 bit", 6, "region"),
    uniform("s2a bias, blocks 4 bit", 4, "block"),
    uniform("s2a bias, blocks 6 bit", 6, "block"),
)
