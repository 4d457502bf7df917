"""A running service and the command line, each a process with profiles of its own: one verdict, one smallest budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.service import ENDED, RunningService, wait_for
from tests.photos import two_classes

REQUEST: dict[str, Any] = {
    "model": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 8, "precision": "fp32", "device": "cpu",
}  # fmt: skip
Verdict = tuple[bool, int]  # whether it fits, the smallest budget
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of twelve pictures."""
    return two_classes(tmp_path / "photos", REQUEST["image_size"])


@pytest.fixture
def service(tmp_path: Path, photos: Path) -> Iterator[RunningService]:
    """A service that may read the photos."""
    running = RunningService(tmp_path / "s2a", poll_s=0.1, data_roots=json.dumps([str(photos)])).start()
    yield running
    running.stop()


def in_a_shell(photos: Path, budget: int, home: Path, **fields: Any) -> Verdict:
    """`s2a plan` as a user runs it, without the service's profiles."""
    names = {"ema_decay": "ema"}
    options = {**REQUEST, **fields, "data": photos, "budget": budget}
    model = options.pop("model")
    words = [w for name, v in options.items() for w in (f"--{names.get(name, name).replace('_', '-')}", str(v))]
    command = [str(Path(sys.executable).with_name("s2a")), "plan", model, *words, "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(home)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    document = json.loads(done.stdout)
    if done.returncode == 3:
        return False, document["error"]["details"]["min_feasible_budget_bytes"]
    assert done.returncode == 0, done.stderr
    return True, document["min_feasible_budget_bytes"]


def planned(service: RunningService, request: dict[str, Any]) -> Verdict:
    """POST /v1/plans, waited for."""
    number = service.call("POST", "/v1/plans", json=request)["id"]

    def ended() -> Any:
        answer = service.call("GET", f"/v1/plans/{number}")
        return answer if answer["status"] in ("ready", "infeasible", "failed") else None

    answer = wait_for(ended, 90, "the plan is made")
    if answer["status"] == "infeasible":
        return False, answer["reason"]["details"]["min_feasible_budget_bytes"]
    assert answer["status"] == "ready", answer
    return True, answer["plan"]["min_feasible_budget_bytes"]


def trained(service: RunningService, request: dict[str, Any]) -> Verdict:
    """POST /v1/jobs, waited for; what was trained stayed inside."""
    number = service.submit(**request, epochs=1)
    job = service.wait_until(number, *ENDED, seconds=120)
    if job["status"] == "failed" and job["reason"]["code"] == "infeasible_budget":
        return False, job["reason"]["details"]["min_feasible_budget_bytes"]
    assert (job["status"], job["report"]["within_budget"]) == ("succeeded", True), job["reason"]
    assert job["report"]["measured_peak_bytes"] <= request["budget"]
    return True, service.call("GET", f"/v1/jobs/{number}/artifacts/plan.json")["min_feasible_budget_bytes"]


@pytest.mark.parametrize("fields", [{"adapter": "full", "ema_decay": 0.9}, {"adapter": "auto"}], ids=str)
def test_a_shell_and_a_service_that_share_nothing_give_the_same_verdict(
    service: RunningService, photos: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    is_feasible, smallest = in_a_shell(photos, 1, tmp_path, **fields)
    assert not is_feasible
    for budget in (smallest - 1, smallest):
        expected = in_a_shell(photos, budget, tmp_path, **fields)
        assert expected == (budget >= smallest, smallest)
        request = {**REQUEST, **fields, "data": str(photos), "budget": budget}
        assert planned(service, request) == expected
        assert trained(service, request) == expected
