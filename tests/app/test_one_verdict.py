"""The same request at every door: one verdict, one smallest budget to the byte, and what starts stays inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.profiles import profile_cache
from app.runner import plans, work
from tests.app.runner.test_work import PretendLink
from tests.photos import two_classes

pytestmark = pytest.mark.slow
MODEL, SIZE, BATCH = "test_resnet", 32, 8
INFEASIBLE = 3
Verdict = tuple[bool, int]  # whether it fits, the smallest budget


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of twelve pictures."""
    return two_classes(tmp_path_factory.mktemp("photos"), SIZE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all doors keep their profiles."""
    return tmp_path_factory.mktemp("home")


class Doors:
    """One request, asked at each door."""

    def __init__(self, photos: Path, work_dir: Path, adapter: str, ema: float | None) -> None:
        self.photos, self.work_dir, self.adapter, self.ema, self.count = photos, work_dir, adapter, ema, 0
        cache = str(work_dir / "cache")
        self.access = {"roots": [str(photos.resolve())], "cache": cache, "uses_hub_token": False}

    def command(self, name: str, budget: int, *more: str) -> tuple[int, dict[str, Any]]:
        """(exit code, JSON) of `s2a plan` or `s2a train`."""
        words = [name, MODEL, "--data", str(self.photos), "--budget", str(budget), "--adapter", self.adapter]
        words += ["--weights", "none", "--image-size", str(SIZE), "--batch-size", str(BATCH), "--precision", "fp32"]
        words += ["--device", "cpu", "--json", *(["--ema", str(self.ema)] if self.ema else []), *more]
        result = CliRunner().invoke(app, words)
        document = json.loads(result.stdout)
        return result.exit_code, document.get("error", document)

    def fields(self, budget: int) -> dict[str, Any]:
        """The request as the service has it."""
        fields = {"model": MODEL, "data": str(self.photos), "budget_bytes": budget, "adapter": self.adapter}
        fields |= {"weights": "none", "image_size": SIZE, "batch_size": BATCH, "precision": "fp32", "device": "cpu"}
        return fields | ({"ema_decay": self.ema} if self.ema else {})

    def output(self) -> Path:
        """A new directory, beside the profiles as a job's is."""
        self.count += 1
        return profile_cache().parent / "jobs" / self.work_dir.name / str(self.count)

    def plan(self, budget: int, *more: str) -> Verdict:
        """`s2a plan`, `s2a plan --verify`."""
        code, document = self.command("plan", budget, *more)
        if code == INFEASIBLE:
            return False, document["details"]["min_feasible_budget_bytes"]
        assert code == 0, document
        assert document["predicted"]["peak_bytes"] <= budget
        return True, document["min_feasible_budget_bytes"]

    def train(self, budget: int, *more: str) -> Verdict:
        """`s2a train`, `s2a train --plan`."""
        output = self.output()
        code, document = self.command("train", budget, "--epochs", "1", "--output", str(output), *more)
        if code == INFEASIBLE:
            return False, document["details"]["min_feasible_budget_bytes"]
        assert (code, document["within_budget"]) == (0, True), document
        assert document["measured_peak_bytes"] <= budget
        return True, json.loads((output / "plan.json").read_text())["min_feasible_budget_bytes"]

    def service_plan(self, budget: int) -> Verdict:
        """What POST /v1/plans has its worker do."""
        answer = plans.work(
            {"request": self.fields(budget), "profiles": str(profile_cache()), "data_access": self.access}
        )
        if answer["status"] == "infeasible":
            return False, answer["reason"]["details"]["min_feasible_budget_bytes"]
        assert answer["status"] == "ready", answer
        return True, answer["plan"]["min_feasible_budget_bytes"]

    def service_job(self, budget: int) -> Verdict:
        """What POST /v1/jobs has its runner do."""
        output, link = self.output(), PretendLink({**self.fields(budget), "epochs": 1}, data_access=self.access)
        status, reason, report, _ = work.run(link, output)  # type: ignore[arg-type]
        if status == "failed" and reason is not None and reason["code"] == "infeasible_budget":
            return False, reason["details"]["min_feasible_budget_bytes"]
        assert (status, report is not None and report["within_budget"]) == ("succeeded", True), reason
        return True, json.loads((output / "plan.json").read_text())["min_feasible_budget_bytes"]


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("adapter", ["full", "bias", "auto"])
def test_every_door_gives_the_same_verdict_and_the_same_smallest_budget(
    adapter: str, ema: float | None, photos: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    doors = Doors(photos, tmp_path, adapter, ema)
    is_feasible, smallest = doors.plan(1)
    assert not is_feasible
    for budget in (smallest * 9 // 10, smallest - 1, smallest, smallest + 1, smallest * 13 // 10):
        saved = tmp_path / f"{budget}.json"
        expected = doors.plan(budget, "--save", str(saved))
        assert expected == (budget >= smallest, smallest)
        assert doors.plan(budget, "--verify") == expected
        assert doors.service_plan(budget) == expected
        assert doors.train(budget) == expected
        assert doors.service_job(budget) == expected
        if budget >= smallest:
            assert doors.train(budget, "--plan", str(saved)) == expected
