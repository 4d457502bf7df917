"""Datasets as their owners see them: make, upload in parts, look, remove; what a job may name as its data."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import Any

from app.errors import TooLarge, WrongState, existing
from app.models import Dataset, DatasetStatus, Upload
from app.services.children import PROCESS_GONE, Stopped
from app.services.keys import Caller, require
from app.services.sources import data_source, weights_source
from app.settings import Settings
from app.store import audit, datasets
from app.store.database import Database
from s2a_core.sizes import format_bytes

ID_PREFIX = "ds_"
LEASE_S = 30.0
WEIGHTS_NAME = "weights.safetensors"  # in the folder of an upload of weights
SPARE_BYTES = 256 * 2**20  # an upload is refused when it would leave less on the disk


def dataset_folder(data_dir: Path, dataset_id: str) -> Path:
    """Where a dataset's images are."""
    return data_dir / "datasets" / dataset_id


def weights_path(data_dir: Path, weights: Any) -> Any:
    """What a runner is given as its weights: the file of an upload that is named by its id, else the word itself."""
    if isinstance(weights, str) and weights.startswith(ID_PREFIX):
        return str((dataset_folder(data_dir, weights) / WEIGHTS_NAME).resolve())
    return weights


def holds_weights(summary: dict[str, Any] | None) -> bool:
    """Whether an upload that was looked at is a file of weights, not images."""
    return (summary or {}).get("contents") == "weights"


def upload_file(data_dir: Path, upload_id: str) -> Path:
    """Where the parts of an upload are put together."""
    return data_dir / "uploads" / f"{upload_id}.part"


def remove_parts(data_dir: Path, upload_id: str) -> None:
    """Delete what was received of an upload."""
    for suffix in (".part", ".lock"):
        upload_file(data_dir, upload_id).with_suffix(suffix).unlink(missing_ok=True)


def document(dataset: Dataset, upload: Upload | None) -> dict[str, Any]:
    """A dataset as the API shows it."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "source": dataset.source,
        "status": dataset.status,
        "reason": dataset.reason,
        "num_bytes": dataset.num_bytes,
        "sha256": dataset.sha256,
        "summary": dataset.summary,
        "upload": upload_document(upload) if upload else None,
        "created_at": dataset.created_at,
    }


def upload_document(upload: Upload) -> dict[str, Any]:
    """An upload as the API shows it."""
    return {
        "id": upload.id,
        "dataset_id": upload.dataset_id,
        "size": upload.size,
        "received": upload.received,
        "expires_at": upload.expires_at,
    }


class DatasetService:
    """Everything a key's holder can do with datasets. A dataset of another team is NotFound."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings, self.data_dir = database, settings, settings.data_dir

    def create(self, caller: Caller, name: str, source: dict[str, Any]) -> dict[str, Any]:
        """A dataset from an upload that begins, a directory of this machine, or a hub."""
        require(caller, "write")
        kind = source["kind"]
        if kind == "upload":
            self._check_room(source["size"])
        else:
            source = {"kind": kind, "source": data_source(source["source"], caller, self.settings.data_roots)}
        status = DatasetStatus.UPLOADING if kind == "upload" else DatasetStatus.VALIDATING
        with self.database.transaction() as session:
            made = datasets.add(
                session, Dataset(team_id=caller.team_id, name=name, source=source, status=status, reason=None)
            )
            upload = None
            if kind == "upload":
                expires_at = time.time() + self.settings.upload_lifetime_s
                upload = Upload(team_id=caller.team_id, dataset_id=made.id, size=source["size"], expires_at=expires_at)
                datasets.add(session, upload)
            made.reason = _reason(made)
            audit.record(session, caller.team_id, caller.key_id, "dataset.created", made.id, {"kind": kind})
            return document(made, upload)

    def _check_room(self, size: int) -> None:
        limit = self.settings.max_upload_bytes
        if size > limit:
            raise TooLarge(
                f"an upload may have {format_bytes(limit)}, not {format_bytes(size)}", details={"max_bytes": limit}
            )
        free = shutil.disk_usage(self.data_dir).free - SPARE_BYTES
        if size > free:
            raise TooLarge(
                f"the service has room for {format_bytes(max(0, free))}, not for {format_bytes(size)}",
                details={"max_bytes": max(0, free)},
            )

    def get(self, caller: Caller, dataset_id: str) -> dict[str, Any]:
        """One dataset."""
        with self.database.reading() as session:
            dataset = self._find(session, caller, dataset_id)
            return document(dataset, datasets.upload_of(session, dataset.id))

    def listed(self, caller: Caller, status: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """A page of datasets, newest first."""
        with self.database.reading() as session:
            rows, following = datasets.listed(session, caller.visible_team, status, limit, after)
            return {"items": [document(dataset, None) for dataset in rows], "next": following}

    def remove(self, caller: Caller, dataset_id: str) -> None:
        """Forget a dataset and its files; WrongState while a job or a plan that has not ended uses it."""
        require(caller, "write")
        with self.database.transaction() as session:
            dataset = self._find(session, caller, dataset_id, is_locked=True)  # waits for who is submitting a job on it
            jobs, plans = datasets.users(session, dataset_id)
            if jobs or plans:
                message = f"dataset {dataset_id} is used by {', '.join([*jobs, *plans][:5])}"
                raise WrongState(message, details={"jobs": jobs, "plans": plans})
            upload = datasets.upload_of(session, dataset_id)
            datasets.end_upload(session, dataset_id)
            datasets.remove(session, dataset)
            audit.record(session, caller.team_id, caller.key_id, "dataset.removed", dataset_id)
        if upload is not None:
            remove_parts(self.data_dir, upload.id)
        shutil.rmtree(dataset_folder(self.data_dir, dataset_id), ignore_errors=True)

    def resolve(self, caller: Caller, data: str) -> tuple[str, str]:
        """(what was asked for, what a runner is given). Raises WrongState for a dataset that is not ready."""
        if not data.startswith(ID_PREFIX):
            return data, data_source(data, caller, self.settings.data_roots)
        dataset = self._ready(caller, data)
        if holds_weights(dataset.summary):
            raise WrongState(f"{data} holds weights, not images: name it as `weights`, and images as `data`")
        if dataset.source["kind"] == "upload":
            return data, str((dataset_folder(self.data_dir, data) / "images").resolve())
        return data, str(dataset.source["source"])

    def weights(self, caller: Caller, asked: str | None) -> str:
        """What a job may start from: an upload of weights that is ready, by its id, or what `weights_source` allows."""
        if asked is None or not asked.startswith(ID_PREFIX):
            return weights_source(asked, caller, self.settings.data_roots)
        if not holds_weights(self._ready(caller, asked).summary):
            raise WrongState(f"{asked} holds images, not weights: name it as `data`")
        return asked

    def _ready(self, caller: Caller, dataset_id: str) -> Dataset:
        with self.database.reading() as session:
            dataset = self._find(session, caller, dataset_id, is_kept=True)
            if dataset.status != DatasetStatus.READY:
                why = f": {dataset.reason['message']}" if dataset.reason else ""
                raise WrongState(f"dataset {dataset_id} is {dataset.status}{why}", details={"status": dataset.status})
            return dataset

    @staticmethod
    def _find(session: Any, caller: Caller, dataset_id: str, **locks: bool) -> Dataset:
        return existing(datasets.find(session, dataset_id, caller.visible_team, **locks), f"dataset {dataset_id}")


def _reason(dataset: Dataset) -> dict[str, Any] | None:
    waiting = {
        DatasetStatus.UPLOADING: ("uploading", "waits for its upload to end"),
        DatasetStatus.VALIDATING: ("validating", "waits for its files to be looked at"),
    }.get(DatasetStatus(dataset.status))
    return {"code": waiting[0], "message": waiting[1], "details": {}} if waiting else None


class DatasetWorkQueue:
    """The worker's side: takes a dataset, keeps it alive, and writes down what was found.

    Only the worker that holds a dataset's lease changes it, its row or its files. Files of a dataset that was removed
    meanwhile are nobody's, and go.
    """

    def __init__(self, database: Database, data_dir: Path) -> None:
        self.database, self.data_dir = database, data_dir
        self._leases: dict[str, float] = {}
        self._crashed: set[str] = set()  # datasets whose child has died once

    def take(self) -> tuple[str, dict[str, Any]] | None:
        """(id, order of the child) of a dataset that is now this worker's."""
        with self.database.transaction() as session:
            dataset = datasets.claim(session, LEASE_S)
            if dataset is None:
                return None
            assert dataset.lease_expires_at is not None
            self._leases[dataset.id] = dataset.lease_expires_at
            folder = dataset_folder(self.data_dir, dataset.id).resolve()
            kind = dataset.source["kind"]
            source = str(folder / "upload") if kind == "upload" else dataset.source["source"]
            order = {"kind": kind, "source": source, "folder": str(folder), "name": dataset.name}
            order |= {"weights": weights_path(self.data_dir, dataset.id)}
            order |= {"team_id": dataset.team_id, "sha256": dataset.source.get("sha256")}
            return dataset.id, order

    def keep(self, dataset_id: str, doing: str = "") -> None:
        """Say that the worker lives. Raises Stopped where the dataset is no longer its own."""
        with self.database.transaction() as session:
            dataset = datasets.held(session, dataset_id, self._leases[dataset_id])
            if dataset is None:
                raise Stopped
            dataset.lease_expires_at = self._leases[dataset_id] = time.time() + LEASE_S

    def finish(self, dataset_id: str, answer: dict[str, Any]) -> None:
        """Write down a child's answer; of a refused dataset nothing stays on disk.

        A child that died says nothing of the dataset, which may have taken hours to send: it is looked at once more.
        """
        has_died = answer["status"] is None and answer["reason"]["code"] == PROCESS_GONE
        if has_died and dataset_id not in self._crashed:
            self._crashed.add(dataset_id)
            self.release(dataset_id)
            return
        self._crashed.discard(dataset_id)
        status = answer["status"] or DatasetStatus.REFUSED
        try:
            self.keep(dataset_id)  # renewed: deleting takes its time
        except Stopped:
            self.release(dataset_id)
            return
        if status != DatasetStatus.READY:
            self._clear(dataset_id)
        with self.database.transaction() as session:
            dataset = datasets.held(session, dataset_id, self._leases.pop(dataset_id))
            if dataset is not None:
                dataset.status, dataset.reason = status, answer.get("reason")
                dataset.summary, dataset.lease_expires_at = answer.get("summary"), None
                dataset.num_bytes = int(answer.get("num_bytes") or 0)
                dataset.sha256 = answer.get("sha256")

    def release(self, dataset_id: str) -> None:
        """Give a dataset back, for the next worker."""
        with self.database.transaction() as session:
            dataset = datasets.held(session, dataset_id, self._leases.pop(dataset_id))
            if dataset is not None:
                dataset.lease_expires_at = None
            is_removed = datasets.find(session, dataset_id, None) is None
        if is_removed:
            self._clear(dataset_id)

    def _clear(self, dataset_id: str) -> None:
        """Delete a dataset's files; they leave their place at once, so that nobody takes a part of them for all."""
        folder = dataset_folder(self.data_dir, dataset_id)
        doomed = folder.with_name(f"{dataset_id}.removed")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
