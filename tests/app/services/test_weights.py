"""Weights that a team uploads: looked at like a dataset, named by jobs and plans, never another team's or removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import save

from app.queue.scheduler import Scheduler
from app.runner.datasets import work
from app.services.background import Background
from app.services.datasets import DatasetWorkQueue, weights_path
from app.services.plans import PlanWorkQueue
from app.settings import Settings
from tests.app.conftest import PretendExecutor

WEIGHTS = save({"head.weight": np.zeros((3, 4), np.float16), "head.bias": np.zeros(3, np.float32)})
ACCESS = {"roots": [], "cache": "", "uses_hub_token": False}


def upload(service: TestClient, data_dir: Path, content: bytes = WEIGHTS) -> dict[str, Any]:
    source = {"kind": "upload", "size": len(content), "filename": "mine.bin"}
    made = service.post("/v1/datasets", json={"name": "mine", "source": source}).json()
    sent = service.patch(f"/v1/uploads/{made['upload']['id']}", content=content, headers={"Upload-Offset": "0"})
    assert sent.status_code == 200
    queue = DatasetWorkQueue(service.app.state.database, data_dir)  # type: ignore[attr-defined]
    taken = queue.take()
    assert taken is not None
    queue.finish(taken[0], work({**taken[1], "data_access": ACCESS}))
    return dict(service.get(f"/v1/datasets/{made['id']}").json())


def body(**fields: str) -> dict[str, str]:
    return {"model": "s2a_tiny", "data": "digits", "budget": "64MiB", **fields}


def test_a_job_starts_from_uploaded_weights_and_holds_them(
    service: TestClient, scheduler: Scheduler, executor: PretendExecutor, tmp_path: Path
) -> None:
    weights = upload(service, tmp_path)
    about = {"contents": "weights", "num_tensors": 2, "num_parameters": 15, "dtypes": ["F16", "F32"]}
    assert (weights["status"], weights["summary"], weights["num_bytes"]) == ("ready", about, len(WEIGHTS))
    job = service.post("/v1/jobs", json=body(weights=weights["id"])).json()
    assert job["request"]["weights"] == weights["id"]
    scheduler.tick()
    attempt = executor.launched[-1]
    headers = {"Authorization": f"Bearer {attempt['token']}"}
    order = service.get(f"/v1/runner/attempts/{attempt['attempt']}/request", headers=headers).json()
    path = order["request"]["weights"]
    assert Path(path).read_bytes() == WEIGHTS
    assert path in order["data_access"]["roots"]
    refused = service.delete(f"/v1/datasets/{weights['id']}")
    assert (refused.status_code, refused.json()["details"]["jobs"]) == (409, [job["id"]])


def test_a_plan_is_made_from_uploaded_weights(service: TestClient, settings: Settings, tmp_path: Path) -> None:
    weights = upload(service, tmp_path)
    plan = service.post("/v1/plans", json=body(weights=weights["id"])).json()
    assert plan["request"]["weights"] == weights["id"]
    taken = PlanWorkQueue(service.app.state.database).take()  # type: ignore[attr-defined]
    assert taken is not None
    state = service.app.state  # type: ignore[attr-defined]
    order = Background(state.database, settings, state.services.uploads)._plan_order(taken[1])
    assert Path(order["request"]["weights"]).read_bytes() == WEIGHTS


def test_weights_are_no_images_and_images_no_weights(service: TestClient, tmp_path: Path) -> None:
    weights = upload(service, tmp_path)["id"]
    images = service.post("/v1/datasets", json={"name": "d", "source": {"kind": "hub", "source": "digits"}}).json()[
        "id"
    ]
    early = service.post("/v1/jobs", json=body(weights=images))
    assert (early.status_code, "is validating" in early.text) == (409, True)
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    assert queue.take() is not None
    queue.finish(images, {"status": "ready", "summary": {"num_classes": 10}})
    for fields, words in (({"data": weights}, "name it as `weights`"), ({"weights": images}, "name it as `data`")):
        answer = service.post("/v1/jobs", json=body(**fields))
        assert (answer.status_code, words in answer.json()["title"]) == (409, True)
    assert service.post("/v1/jobs", json=body(weights="ds_nobodys")).status_code == 404


@pytest.mark.parametrize(
    ("content", "words"),
    [(WEIGHTS[:-1], "no whole safetensors file"), (save({}), "no tensors"), (b"\x80\x02}q\x00.", "neither a zip")],
)
def test_what_is_no_weights_is_refused_in_words(
    service: TestClient, tmp_path: Path, content: bytes, words: str
) -> None:
    refused = upload(service, tmp_path, content)
    assert (refused["status"], words in refused["reason"]["message"]) == ("refused", True)
    assert str(tmp_path) not in refused["reason"]["message"]
    assert not (tmp_path / "datasets" / refused["id"]).exists()


def test_a_look_that_was_killed_goes_on(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(WEIGHTS)  # renamed, then killed
    order = {"kind": "upload", "source": str(tmp_path / "upload"), "folder": str(tmp_path), "name": "mine"}
    answer = work({**order, "weights": str(tmp_path / "weights.safetensors"), "data_access": ACCESS})
    assert answer["status"] == "ready"


def test_other_words_are_weights_as_they_are(tmp_path: Path) -> None:
    assert [weights_path(tmp_path, word) for word in (None, "none", "/w.safetensors")] == [
        None,
        "none",
        "/w.safetensors",
    ]
