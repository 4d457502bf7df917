"""Datasets from names and uploads; what a job may name; removal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.models import Dataset
from app.services.children import Stopped
from app.services.datasets import DatasetWorkQueue


def made(service: TestClient, source: dict[str, Any]) -> dict[str, Any]:
    return dict(service.post("/v1/datasets", json={"name": "d", "source": source}).json())


def test_a_named_dataset_is_looked_at_and_used(service: TestClient, tmp_path: Path) -> None:
    dataset = made(service, {"kind": "hub", "source": "digits"})
    assert (dataset["status"], dataset["reason"]["code"]) == ("validating", "validating")
    body = {"model": "s2a_tiny", "data": dataset["id"], "budget": "64MiB"}
    assert service.post("/v1/jobs", json=body).status_code == 409
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    taken = queue.take()
    assert taken is not None
    assert taken[1]["source"] == "digits"
    assert queue.take() is None
    queue.finish(taken[0], {"status": "ready", "summary": {"num_classes": 10}, "num_bytes": 5})
    job = service.post("/v1/jobs", json=body).json()
    assert (job["request"]["data"], job["request"]["dataset"]) == (dataset["id"], dataset["id"])
    refused = service.delete(f"/v1/datasets/{dataset['id']}")
    assert (refused.status_code, refused.json()["details"]["jobs"]) == (409, [job["id"]])
    service.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert service.get(f"/v1/datasets/{dataset['id']}").status_code == 404


def test_a_validation_whose_worker_died_is_taken_again(service: TestClient, tmp_path: Path) -> None:
    made(service, {"kind": "hub", "source": "digits"})
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    first = queue.take()
    assert first is not None
    queue.release(first[0])
    assert queue.take() == first


@pytest.fixture
def uploaded(service: TestClient, tmp_path: Path) -> tuple[str, Path]:
    """(id, folder) of a dataset whose upload has arrived."""
    dataset = made(service, {"kind": "upload", "size": 1})
    url = f"/v1/uploads/{dataset['upload']['id']}"
    assert service.patch(url, content=b"x", headers={"Upload-Offset": "0"}).status_code == 200
    return dataset["id"], tmp_path / "datasets" / dataset["id"]


REFUSED = {"status": "refused", "reason": {"code": "bad_dataset", "message": "m", "details": {}}}


@pytest.fixture
def overtaken(
    service: TestClient, tmp_path: Path, uploaded: tuple[str, Path]
) -> tuple[DatasetWorkQueue, DatasetWorkQueue]:
    """A worker whose lease on the uploaded dataset ran out, and the one that has taken it since."""
    database = service.app.state.database  # type: ignore[attr-defined]
    late, other = DatasetWorkQueue(database, tmp_path), DatasetWorkQueue(database, tmp_path)
    late.take()
    late.keep(uploaded[0])
    with database.transaction() as session:
        session.execute(update(Dataset).values(lease_expires_at=1.0))
    assert other.take() is not None
    return late, other


def test_a_worker_that_lost_its_lease_stops_and_touches_nothing(
    service: TestClient, uploaded: tuple[str, Path], overtaken: tuple[DatasetWorkQueue, DatasetWorkQueue]
) -> None:
    dataset_id, folder = uploaded
    late, other = overtaken
    with pytest.raises(Stopped):
        late.keep(dataset_id)
    late.finish(dataset_id, REFUSED)
    assert (folder / "upload").is_file()
    other.keep(dataset_id)
    other.finish(dataset_id, {"status": "ready", "summary": {}, "num_bytes": 1})
    assert service.get(f"/v1/datasets/{dataset_id}").json()["status"] == "ready"


def test_a_worker_that_is_late_deletes_no_dataset_that_is_ready(
    service: TestClient, uploaded: tuple[str, Path], overtaken: tuple[DatasetWorkQueue, DatasetWorkQueue]
) -> None:
    dataset_id, folder = uploaded
    late, other = overtaken
    other.finish(dataset_id, {"status": "ready", "summary": {}, "num_bytes": 1})
    late.finish(dataset_id, REFUSED)
    assert (folder / "upload").is_file()
    assert service.get(f"/v1/datasets/{dataset_id}").json()["status"] == "ready"


def test_nothing_stays_of_a_dataset_that_is_refused(
    service: TestClient, tmp_path: Path, uploaded: tuple[str, Path]
) -> None:
    dataset_id, folder = uploaded
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    queue.take()
    queue.finish(dataset_id, REFUSED)
    assert list(folder.parent.iterdir()) == []
    assert service.get(f"/v1/datasets/{dataset_id}").json()["reason"] == REFUSED["reason"]


def test_a_service_that_is_killed_while_it_deletes_leaves_no_half_dataset(
    service: TestClient, tmp_path: Path, uploaded: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id, folder = uploaded
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    queue.take()
    with monkeypatch.context() as killed:
        killed.setattr("app.services.datasets.shutil.rmtree", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            queue.finish(dataset_id, REFUSED)
    assert not folder.exists()
    queue.finish(dataset_id, REFUSED)
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize("is_finished", [True, False])
def test_nothing_stays_of_a_dataset_that_was_removed_while_its_child_worked(
    is_finished: bool, service: TestClient, tmp_path: Path, uploaded: tuple[str, Path]
) -> None:
    dataset_id, folder = uploaded
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    queue.take()
    assert service.delete(f"/v1/datasets/{dataset_id}").status_code == 204
    (folder / "images").mkdir(parents=True)
    if is_finished:
        queue.finish(dataset_id, {"status": "ready", "summary": {}, "num_bytes": 1})
    else:
        with pytest.raises(Stopped):
            queue.keep(dataset_id)
        queue.release(dataset_id)
    assert not folder.exists()


def test_an_upload_larger_than_allowed_is_refused(service: TestClient) -> None:
    answer = service.post("/v1/datasets", json={"name": "d", "source": {"kind": "upload", "size": 2**55}})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_dataset_whose_child_died_is_looked_at_once_more_before_it_is_refused(
    service: TestClient, tmp_path: Path, uploaded: tuple[str, Path]
) -> None:
    """The memory of the machine may have run out: what took hours to send is not deleted for that."""
    dataset_id, folder = uploaded
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    gone = {"status": None, "reason": {"code": "process_gone", "message": "m", "details": {}}}
    queue.take()
    queue.finish(dataset_id, gone)
    assert (folder / "upload").is_file()
    assert queue.take() is not None
    queue.finish(dataset_id, gone)
    assert service.get(f"/v1/datasets/{dataset_id}").json()["status"] == "refused"
    assert list(folder.parent.iterdir()) == []


def test_a_dataset_is_not_removed_while_a_plan_is_made_of_it(service: TestClient, tmp_path: Path) -> None:
    dataset = made(service, {"kind": "hub", "source": "digits"})["id"]
    queue = DatasetWorkQueue(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    queue.take()
    queue.finish(dataset, {"status": "ready", "summary": {"num_classes": 10}})
    plan = service.post("/v1/plans", json={"model": "s2a_tiny", "data": dataset, "budget": "64MiB"}).json()["id"]
    refused = service.delete(f"/v1/datasets/{dataset}")
    assert (refused.status_code, refused.json()["details"]) == (409, {"jobs": [], "plans": [plan]})
