"""Small workspaces where a budget is short, the device's own where it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s2a_core.device.libraries import MEDIUM, SMALL, workspace_config
from tests.fakegpu.double import FakeDevices

GIB = 2**30


@pytest.mark.parametrize(
    ("budget_bytes", "expected"), [(GIB - 1, SMALL), (GIB, MEDIUM), (8 * GIB - 1, MEDIUM), (8 * GIB, None), (0, None)]
)
def test_workspaces_follow_the_budget(budget_bytes: int, expected: str | None) -> None:
    assert workspace_config(budget_bytes) == expected


AFTER_A_LOOK = """
import json, os, torch
from s2a_core.device.libraries import CUBLAS, configure
torch.cuda.get_device_properties(0)
configure(2**20)
first = os.environ.get(CUBLAS)
tensor = torch.empty(2**20, device="cuda")
grows = [one["is_expandable"] for one in torch.cuda.memory_snapshot()]
del os.environ[CUBLAS]
configure(2**20)
print(json.dumps([first, grows, CUBLAS in os.environ]))
"""


@pytest.mark.fakegpu
@pytest.mark.slow
def test_who_asked_for_the_devices_properties_before_has_no_context_yet(
    fake_devices: Callable[..., FakeDevices],
) -> None:
    first, grows, is_set_again = fake_devices().python(AFTER_A_LOOK).document
    assert first == SMALL
    assert grows == [True]
    assert not is_set_again  # the process has its context by then
