"""The workspace of stock's sum over rows: as PyTorch's own CUDA code computes it, and counted in a plan's peak."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from s2a_core.planning.peak import Peak
from s2a_core.planning.sums import column_sum_workspace
from s2a_core.profiling.types import Profile
from tests.fakegpu.double import FakeDevices
from tests.s2a_core.planning.profiles import transformer

H100_THREADS = 132 * 2048
SHAPES = [
    (rows, columns) for columns in (16, 64, 96, 192, 576, 1000, 2304) for rows in (197, 1023, 1576, 12608, 100352)
]

TAKEN = """
import json, sys, torch
from s2a_core.compression.watch import SumWatch, Watcher

def taken(rows, columns):
    x = torch.empty(rows, columns, device="cuda", dtype=torch.bfloat16)
    torch.cuda.reset_peak_memory_stats()
    x.sum(0)
    return torch.cuda.memory_stats()["requested_bytes.all.peak"] - x.nbytes

sizes = [taken(*shape) for shape in json.loads(sys.argv[1])]
layer, x = torch.nn.Linear(8, 24, device="cuda"), torch.ones(2, 50, 8, device="cuda")
watcher = Watcher(x.device)
y = layer(x)
with SumWatch(watcher):
    y.mul(2).sum().backward()
print(json.dumps([sizes, [[s.rows, s.columns, s.alive > y.nbytes] for s in watcher.sums.values()]]))
"""


@pytest.mark.fakegpu
def test_it_is_what_the_allocator_gives_for_sums_that_a_profile_sees(fake_devices: Callable[..., FakeDevices]) -> None:
    outcome = fake_devices(device_mib=16384).python(TAKEN, json.dumps(SHAPES))
    assert outcome.returncode == 0, outcome.stderr
    sizes, watched = outcome.document
    assert watched == [[100, 24, True]]  # that of a layer's bias, in autograd's thread
    for (rows, columns), taken in zip(SHAPES, sizes, strict=True):
        expected = column_sum_workspace(rows, columns, H100_THREADS)
        # Beside it the result in bf16, and a counter for each block of columns.
        assert 0 <= taken - expected <= 2 * columns + 4 * columns, (rows, columns, taken, expected)


def summing(rows: int, columns: int) -> Profile:
    """A profile of two samples whose backward turns sum the rows of such gradients."""
    profile = replace(transformer(depth=2), resident_threads=H100_THREADS, chunk_samples=2)
    sites = [
        replace(
            site,
            work={
                mode: (*turns, replace(turns[0], is_backward=True, sum_rows=rows, sum_columns=columns))
                for mode, turns in site.work.items()
            },
        )
        for site in profile.sites
    ]
    return replace(profile, sites=tuple(sites))


def test_a_peak_counts_it_from_the_micro_batch_on_that_takes_one() -> None:
    rows, columns = 2 * 197, 768
    without, profile = summing(0, 0), summing(rows, columns)

    def peak(of: Profile, samples: int) -> int:
        return max(point.moving for point in Peak(of, samples).course({}))

    assert peak(profile, 4) == peak(without, 4)
    assert peak(profile, 32) == peak(without, 32) + column_sum_workspace(32 * 197, columns, H100_THREADS)
    measured_with_it = summing(2 * 12544, 64)
    assert peak(measured_with_it, 32) == peak(without, 32)
