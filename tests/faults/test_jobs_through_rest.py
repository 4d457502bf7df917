"""Real training through the running service: same numbers as by hand, events, artifacts, cancel, a killed service."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.client import Client
from tests.faults.service import ENDED, RunningService, wait_for
from tests.s2a_core.tasks.shapes import multilabel

REQUEST: dict[str, Any] = {
    "model": "s2a_tiny",
    "weights": "pretrained",
    "data": "digits",
    "adapter": "head",
    "batch_size": 64,
    "epochs": 1,
    "seed": 3,
}
BUDGET = "16MiB"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def trained_by_hand(folder: Path) -> dict[str, Any]:
    options = [
        text
        for name, value in REQUEST.items()
        if name != "model"
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
    command = [str(Path(sys.executable).with_name("s2a")), "train", REQUEST["model"], *options, "--budget", BUDGET]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--output", str(folder), "--json"], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_job_gives_the_command_lines_accuracy_and_its_events_and_artifacts(
    service: RunningService, tmp_path: Path
) -> None:
    job = service.submit(**REQUEST, budget=BUDGET)
    by_hand = trained_by_hand(tmp_path / "by-hand")
    done = service.wait_until(job, *ENDED, seconds=120)
    assert done["status"] == "succeeded", done["reason"]
    assert done["report"]["accuracy"] == by_hand["accuracy"]
    assert done["report"]["measured_peak_bytes"] <= 16 * 2**20

    events = service.events(job)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events[:2]] == ["queued", "started"]
    assert [event["epoch"] for event in events if event["type"] == "epoch"] == [1]
    assert events[-1]["type"] == "succeeded"
    streamed = httpx.get(
        f"{service.url}/v1/jobs/{job}/events",
        headers={"Authorization": f"Bearer {service.key}", "Accept": "text/event-stream"},
        timeout=30,
    ).text
    numbers = [int(line.removeprefix("id: ")) for line in streamed.splitlines() if line.startswith("id: ")]
    assert numbers == [event["seq"] for event in events]

    artifacts = service.call("GET", f"/v1/jobs/{job}/artifacts")["items"]
    wanted = {"adapter.safetensors", "plan.json", "report.json", "report.html", "metrics.csv", "README.md"} | {
        "examples.json"
    }
    assert wanted <= {artifact["name"] for artifact in artifacts}
    for artifact in artifacts:
        got = httpx.get(
            f"{service.url}/v1/jobs/{job}/artifacts/{artifact['name']}",
            headers={"Authorization": f"Bearer {service.key}"},
        ).content
        assert (len(got), hashlib.sha256(got).hexdigest()) == (artifact["num_bytes"], artifact["sha256"])
    wait_for(lambda: not service.runners(), 5, "no process of the job remains")


@pytest.mark.parametrize(
    ("adapter", "codes"),
    [("bias", {"weight_format": "nf4"}), ("full", {"optimizer": "adamw8bit"})],
)
def test_a_killed_job_with_codes_ends_as_one_that_was_not(
    service: RunningService, tmp_path: Path, adapter: str, codes: dict[str, str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "shapes"), "zip", multilabel(tmp_path / "shapes", 32))
    with Client(service.url, service.key) as client:
        dataset = client.wait_dataset(client.upload(Path(archive), "shapes")["id"])["id"]
    changes = {"data": dataset, "adapter": adapter, "batch_size": 8, "epochs": 16, "budget": "64MiB"}
    request = {**REQUEST, **changes, **codes}
    killed = service.submit(**request)
    wait_for(lambda: any(e["type"] == "epoch" for e in service.events(killed)), 150, "a checkpoint of an epoch")
    for process in service.runners():
        process.kill()
    reports = []
    for job, attempts in ((killed, 2), (service.submit(**request), 1)):
        done = service.wait_until(job, *ENDED, seconds=150)
        assert (done["status"], done["attempts"]) == ("succeeded", attempts), done["reason"]
        with Client(service.url, service.key) as client:
            reports.append(json.loads(client.artifact(job, "report.json")))
        assert reports[-1]["within_budget"]
        assert codes.items() <= {name: reports[-1][name] for name in codes}.items()
    assert any(event["type"] == "resumed" and event["step"] for event in service.events(killed))
    assert reports[0]["step_losses"] == reports[1]["step_losses"]


def test_cancel_stops_a_training_job_within_five_seconds_and_leaves_no_process(service: RunningService) -> None:
    job = service.submit(**{**REQUEST, "epochs": 500}, budget=BUDGET)
    wait_for(lambda: any(e["type"] == "step" for e in service.events(job)), 90, "the job trains")
    assert service.runners()
    asked = time.monotonic()
    service.call("POST", f"/v1/jobs/{job}/cancel")
    service.wait_until(job, "cancelled", seconds=5)
    wait_for(lambda: not service.runners(), 5 - (time.monotonic() - asked), "no process of it remains")


def test_a_job_ends_exactly_once_though_the_service_was_killed(service: RunningService) -> None:
    job = service.submit(**REQUEST, budget=BUDGET)
    wait_for(lambda: any(e["type"] == "step" for e in service.events(job)), 90, "the job trains")
    service.kill()
    time.sleep(1)
    service.start()
    done = service.wait_until(job, *ENDED, seconds=120)
    assert done["status"] == "succeeded", done["reason"]
    events = service.events(job)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len([event for event in events if event["type"] in ENDED]) == 1
    assert [event["epoch"] for event in events if event["type"] == "epoch"] == [1]
