"""Commands and runners do not show the profiler's own log; waiting threads of a runner leave processors to others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from app.libraries import QUIET, SHARING, quiet_libraries
from app.settings import child_environment

PROFILE = """
import torch
from s2a_core.meter import PeakMeter
with PeakMeter() as meter:
    x = torch.ones(1000)
assert meter.peak_bytes >= 4000
"""


def test_measuring_a_peak_is_silent() -> None:
    clean = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run([sys.executable, "-c", PROFILE], capture_output=True, text=True, env=clean, check=True)
    assert "profiler" not in done.stderr


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINETO_LOG_LEVEL", "1")
    quiet_libraries()
    assert os.environ["KINETO_LOG_LEVEL"] == "1"
    assert child_environment()["KINETO_LOG_LEVEL"] == "1"


def test_runners_share_the_processor_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert child_environment()["GOMP_SPINCOUNT"] == SHARING["GOMP_SPINCOUNT"]
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    assert child_environment()["GOMP_SPINCOUNT"] == "5"


def test_how_the_operator_wants_threads_to_wait_is_not_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "GOMP_SPINCOUNT" not in child_environment()
    assert child_environment()["OMP_WAIT_POLICY"] == "active"
