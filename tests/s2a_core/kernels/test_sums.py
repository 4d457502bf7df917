"""Sums of rows: equal to stock's, and on CUDA without the workspace of stock's reduction."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from s2a_core.kernels.sums import ROWS, channel_sum, column_sum, sum_in_groups
from tests.assertions import assert_close
from tests.fakegpu.double import FakeDevices

TAKEN = """
import json, torch
from s2a_core.kernels.sums import channel_sum, column_sum

def taken(function, x):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    y = function(x)
    return list(y.shape), str(y.dtype), torch.cuda.max_memory_allocated() - before

rows = torch.empty(32 * 197 + 5, 768, device="cuda", dtype=torch.bfloat16)
images = torch.empty(8, 64, 112, 112, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
print(json.dumps([
    taken(lambda x: x.sum(0, dtype=torch.float32), rows), taken(column_sum, rows),
    taken(lambda x: x.sum((0, 2, 3)), images), taken(channel_sum, images),
    rows.nbytes, images.nbytes,
]))
"""


def test_a_sum_of_rows_or_over_an_image_is_stocks() -> None:
    rows = torch.randn(70, 5)
    assert_close(column_sum(rows.bfloat16()), rows.bfloat16().float().sum(0), rel=1e-6)
    images = torch.randn(2, 3, 4, 5)
    for x in (images, images.to(memory_format=torch.channels_last), images[:0], torch.randn(2, 3, 7)):
        assert_close(channel_sum(x), x.sum([d for d in range(x.dim()) if d != 1]), rel=1e-6)
    assert column_sum(rows[:0]).tolist() == [0.0] * 5


@pytest.mark.parametrize("num_rows", [ROWS, ROWS + 1, 3 * ROWS, 40 * ROWS + 63])
def test_sums_of_groups_add_up(num_rows: int) -> None:
    rows = torch.randn(num_rows, 5)
    assert_close(sum_in_groups(rows), rows.double().sum(0).float(), rel=1e-5)


@pytest.mark.fakegpu
def test_on_cuda_sums_take_no_workspace(fake_devices: Callable[..., FakeDevices]) -> None:
    outcome = fake_devices().python(TAKEN)
    assert outcome.returncode == 0, outcome.stderr
    stock, ours, stock_images, ours_images, rows_bytes, images_bytes = outcome.document
    assert ours[:2] == [[768], "torch.float32"]
    assert ours_images[:2] == [[64], "torch.float32"]
    assert stock[2] > rows_bytes
    assert stock_images[2] > images_bytes / 2
    assert ours[2] <= rows_bytes / 16
    assert ours_images[2] <= images_bytes / 16
