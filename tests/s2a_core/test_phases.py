"""Phases are told as they begin and kept when they are over."""

from __future__ import annotations

from typing import Any

import pytest

from s2a_core.phases import Clock


def test_phases_are_told_and_kept() -> None:
    told: list[dict[str, Any]] = []
    clock = Clock(told.append)
    with clock.phase("planning"):
        assert told == [{"type": "phase", "name": "planning"}]
        assert clock.phases == []
    with pytest.raises(ZeroDivisionError), clock.phase("training"):
        raise ZeroDivisionError
    assert [phase["name"] for phase in clock.phases] == ["planning"]
    assert clock.phases[0]["seconds"] >= 0
