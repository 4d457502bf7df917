"""Small workspaces where a budget is short, the device's own where it is not."""

from __future__ import annotations

import pytest

from s2a_core.device.libraries import MEDIUM, SMALL, workspace_config

GIB = 2**30


@pytest.mark.parametrize(
    ("budget_bytes", "expected"), [(GIB - 1, SMALL), (GIB, MEDIUM), (8 * GIB - 1, MEDIUM), (8 * GIB, None), (0, None)]
)
def test_workspaces_follow_the_budget(budget_bytes: int, expected: str | None) -> None:
    assert workspace_config(budget_bytes) == expected
