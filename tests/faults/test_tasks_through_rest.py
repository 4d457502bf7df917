"""Several labels, numbers, masks and a team's own weights through the running service: uploads, a job, its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import httpx
import pytest

from app.client import Client
from s2a_core.tasks import TASKS
from tests.faults.service import RunningService
from tests.s2a_core.tasks.shapes import multilabel, regression, segmentation

BUDGET = 22 * 2**20
CLASSES = ("ground", "square", "disk")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def masks(root: Path, num: int) -> Path:
    """Images of the network's own size with their masks and the names of their classes."""
    return segmentation(root, num, 32, CLASSES)


@pytest.mark.parametrize(
    ("make", "task", "asked", "metric", "words"),
    [
        (multilabel, "multilabel", None, "map", "mAP"),
        (regression, "regression", "regression", "r2", "R²"),
        (masks, "segmentation", None, "miou", "mean IoU"),
    ],
)
def test_a_task_is_trained_inside_a_third_of_full_fine_tuning(
    make: Callable[[Path, int], Path], task: str, asked: str | None, metric: str, words: str,
    service: RunningService, tmp_path: Path,
) -> None:  # fmt: skip
    archive = shutil.make_archive(str(tmp_path / "shapes"), "zip", make(tmp_path / "shapes", 96))
    with Client(service.url, service.key) as client:
        dataset = client.wait_dataset(client.upload(Path(archive), "shapes")["id"])
        assert (dataset["status"], dataset["summary"]["task"]) == ("ready", task)
        if make is masks:
            assert dataset["summary"]["classes"] == list(CLASSES)
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


def test_masks_with_faults_are_refused_as_they_arrive(service: RunningService, tmp_path: Path) -> None:
    root = masks(tmp_path / "shapes", 4)
    (root / "masks/000.png").unlink()
    (root / "classes.txt").write_text("ground\nsquare\n")
    archive = shutil.make_archive(str(tmp_path / "shapes"), "zip", root)
    with Client(service.url, service.key) as client:
        dataset = client.wait_dataset(client.upload(Path(archive), "shapes")["id"])
    assert dataset["status"] == "refused"
    words = "holds the value 2, and classes.txt names 2 classes, 0 to 1; 255 is ignored"
    assert dataset["reason"]["details"]["problems"] == [
        "images/000.png: has no mask in masks/",
        *(f"masks/00{number}.png: {words}" for number in (1, 2, 3)),
    ]


def test_a_job_is_trained_from_weights_that_were_uploaded(service: RunningService) -> None:
    with (
        as_file(files("s2a_core.assets").joinpath("s2a_tiny.safetensors")) as path,
        Client(service.url, service.key) as client,
    ):
        weights = client.wait_dataset(client.upload(path)["id"])
        assert (weights["status"], weights["summary"]["contents"]) == ("ready", "weights"), weights["reason"]
    with Client(service.url, service.key) as client:
        job = client.submit(
            model="s2a_tiny", data="digits", weights=weights["id"], budget="64MiB", adapter="head", epochs=1,
            device="cpu",
        )["id"]  # fmt: skip
        done = client.wait(job)
        assert done["status"] == "succeeded", done["reason"]
        assert (done["request"]["weights"], done["report"]["within_budget"]) == (weights["id"], True)
        card = client.artifact(job, "README.md").decode()
    assert "the base weights (`weights.safetensors`) are needed" in card
