"""Several labels and numbers through the running service: an archive with its table, a job, its page and files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.client import Client
from s2a_core.tasks import TASKS
from tests.faults.service import RunningService
from tests.s2a_core.tasks.shapes import multilabel, regression

BUDGET = 22 * 2**20
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("make", "task", "asked", "metric", "words"),
    [(multilabel, "multilabel", None, "map", "mAP"), (regression, "regression", "regression", "r2", "R²")],
)
def test_a_task_is_trained_inside_a_third_of_full_fine_tuning(
    make: Callable[[Path, int], Path], task: str, asked: str | None, metric: str, words: str,
    service: RunningService, tmp_path: Path,
) -> None:  # fmt: skip
    archive = shutil.make_archive(str(tmp_path / "shapes"), "zip", make(tmp_path / "shapes", 96))
    with Client(service.url, service.key) as client:
        dataset = client.wait_dataset(client.upload(Path(archive), "shapes")["id"])
        assert (dataset["status"], dataset["summary"]["task"]) == ("ready", task)
        job = client.submit(
            model="s2a_tiny", data=dataset["id"], budget=BUDGET, task=asked, adapter="head", batch_size=32, epochs=2,
            device="cpu",
        )["id"]  # fmt: skip
        done = client.wait(job)
        assert done["status"] == "succeeded", done["reason"]
        assert done["report"]["within_budget"]
        assert set(done["report"]["metrics"]) == {each.name for each in TASKS[task].metrics}
        plan = json.loads(client.artifact(job, "plan.json"))
        (full,) = [row["peak_bytes"] for row in plan["baselines"] if row["name"] == "full"]
        assert full >= 3 * BUDGET
        series = client.metrics(job)["series"]
        assert len(series[f"epoch.val_{metric}"]) == 2
    with httpx.Client(base_url=service.url, follow_redirects=True) as browser:
        browser.post("/sign-in", data={"key": service.key})
        page = browser.get(f"/jobs/{job}").text
    assert f"validation {words}" in page
    assert f"<h3>{words}</h3>" in page
