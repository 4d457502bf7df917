"""The planning child: a profile is measured once, plans and alternatives are made from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.runner import plans
from app.runner.plans import work
from s2a_core.planner import Planner
from s2a_core.requests import RunRequest
from tests.fakegpu.double import FakeDevices
from tests.s2a_core.planning.profiles import transformer

pytestmark = pytest.mark.slow


def order(folder: Path, budget: int, precision: str | None = "fp32") -> dict[str, Any]:
    request = {"model": "s2a_tiny", "num_classes": 4, "budget_bytes": budget, "batch_size": 4, "adapter": "head"}
    access = {"roots": [], "cache": str(folder / "cache"), "uses_hub_token": False}
    return {"request": {**request, "precision": precision}, "profiles": str(folder), "data_access": access}


def test_ready_then_infeasible_then_ready_from_the_same_profile(tmp_path: Path) -> None:
    ready = work(order(tmp_path, 64 * 2**20))
    assert (ready["status"], ready["is_profile_known"]) == ("ready", False)
    assert ready["plan"]["predicted"]["peak_bytes"] <= 64 * 2**20
    assert 0 < ready["plan"]["measured_peak_bytes"] <= ready["plan"]["predicted"]["peak_bytes"]
    assert [other["objective"] for other in ready["others"]] == ["speed", "balanced"]
    work(order(tmp_path, 1000))  # measures what coded weights would need
    tight = work(order(tmp_path, 1000))
    assert (tight["status"], tight["is_profile_known"]) == ("infeasible", True)
    assert tight["reason"]["details"]["min_feasible_budget_bytes"] > 1000
    assert tight["smallest"]["weight_format"] == "int8"
    assert work(order(tmp_path, 64 * 2**20))["profile"]["fingerprint"] == ready["profile"]["fingerprint"]


def test_a_precision_left_open_is_chosen_as_the_command_line_chooses_it(tmp_path: Path) -> None:
    """Below what fp32 needs the plan is in bf16, and says why."""
    refused = work(order(tmp_path, 1000))
    below = int(0.97 * refused["reason"]["details"]["min_feasible_budget_bytes"])
    assert work(order(tmp_path, below))["status"] == "infeasible"
    chosen = work(order(tmp_path, below, precision=None))
    assert (chosen["status"], chosen["plan"]["precision"]) == ("ready", "bf16")
    assert "fp32 needs at least" in chosen["plan"]["adapter_reason"]
    assert chosen["profile"]["document"]["precision"] == "bf16"


@pytest.mark.fakegpu
def test_planning_on_a_gpu_holds_no_more_than_is_reserved_for_it(
    fake_devices: Callable[..., FakeDevices], tmp_path: Path
) -> None:
    asked = order(tmp_path, 2 * 2**30, "bf16")
    asked["request"]["device"] = "cuda"
    code = "import json, sys; from app.runner.plans import work; print(json.dumps(work(json.loads(sys.argv[1]))))"
    devices = fake_devices(device_mib=4096, context_mib=256)
    outcome = devices.python(code, json.dumps({**asked, "reserved_bytes": 400 * 2**20}))
    answer = outcome.document
    assert answer["status"] == "ready", answer
    assert answer["plan"]["budget_bytes"] == 2 * 2**30
    assert answer["plan"]["measured_peak_bytes"] is None  # its job will, in the whole budget
    assert 256 * 2**20 < outcome.use.peak_bytes <= 400 * 2**20


def test_a_profile_of_other_versions_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planner, "_measure", lambda self, candidate, *asked: transformer(1))

    def is_known(**changes: Any) -> bool:
        planner = Planner(RunRequest(**{**order(tmp_path, 2**26)["request"], **changes}), tmp_path)
        assert planner.profile() == transformer(1)
        return planner.are_known

    assert [is_known(budget_bytes=5 + n) for n in range(2)] == [False, True]
    assert not is_known(num_classes=7)
    monkeypatch.setattr("s2a_core.profiling.cache.version", lambda name: "another")
    assert not is_known()


def test_a_plan_that_would_take_long_or_a_neighbours_memory_is_left_to_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("CHECK_S", 0.0), ("_free_bytes", lambda device: 0)):
        with monkeypatch.context() as patch:
            patch.setattr(plans, name, value)
            ready = work(order(tmp_path, 64 * 2**20))
        assert (ready["status"], ready["plan"]["measured_peak_bytes"]) == ("ready", None)
