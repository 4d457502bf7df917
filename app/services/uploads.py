"""Uploads in parts: each part says where it begins, so a client that was cut off asks and goes on from there."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from app.errors import NotFound, TooLarge, WrongState
from app.models import DatasetStatus, Upload
from app.services.datasets import dataset_folder, upload_document, upload_file
from app.services.keys import Caller, require
from app.settings import Settings
from app.store import datasets
from app.store.database import Database
from s2a_core.sizes import format_bytes


class UploadService:
    """Receives archives. An upload of another team, or one that has ended, is NotFound."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings, self.data_dir = database, settings, settings.data_dir

    def get(self, caller: Caller, upload_id: str) -> dict[str, Any]:
        """How much has been received."""
        with self.database.reading() as session:
            return upload_document(self._find(session, caller, upload_id))

    async def receive(
        self, caller: Caller, upload_id: str, offset: int, chunks: AsyncIterator[bytes]
    ) -> dict[str, Any]:
        """Append a part that begins at `offset`; what arrived of a part that is cut off is kept.

        Raises WrongState when the part begins elsewhere than where the upload ends, with `received` in its details,
        and TooLarge when it is longer than what is missing.
        """
        require(caller, "write")
        upload = await anyio.to_thread.run_sync(self._begin, caller, upload_id, offset)
        path = upload_file(self.data_dir, upload.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        if offset and not path.exists():
            await anyio.to_thread.run_sync(self._take_back, upload, path)
        at, is_too_long = offset, False
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, offset)
            async for chunk in chunks:
                is_too_long = at + len(chunk) > upload.size
                if is_too_long:
                    break
                await anyio.to_thread.run_sync(os.pwrite, handle, chunk, at)
                at += len(chunk)
        finally:
            os.close(handle)
            with anyio.CancelScope(shield=True):
                received = offset if is_too_long else at
                done = await anyio.to_thread.run_sync(self._received, upload.id, offset, received)
        if is_too_long:
            missing = upload.size - offset
            raise TooLarge(
                f"the part is longer than what is missing ({format_bytes(missing)})", details={"max_bytes": missing}
            )
        return done

    def _begin(self, caller: Caller, upload_id: str, offset: int) -> Upload:
        with self.database.reading() as session:
            upload = self._find(session, caller, upload_id)
            if offset != upload.received:
                raise WrongState(
                    f"the part begins at {offset:,}, the upload ends at {upload.received:,}: send from there",
                    details={"received": upload.received},
                )
            return upload

    def _take_back(self, upload: Upload, path: Path) -> None:
        """Bring a file back that moved to its dataset with the last part, when that could not be written down."""
        with self.database.transaction() as session:
            if datasets.upload(session, upload.id, None, is_locked=True) is None:
                raise NotFound(f"upload {upload.id} has ended: look at its dataset")
            if not path.exists():
                (dataset_folder(self.data_dir, upload.dataset_id) / "upload").rename(path)

    def _received(self, upload_id: str, offset: int, received: int) -> dict[str, Any]:
        """Write down how far an upload got; the last part makes it a dataset to be validated."""
        with self.database.transaction() as session:
            upload = datasets.upload(session, upload_id, None, is_locked=True)
            if upload is None:
                raise NotFound(f"no upload {upload_id[:100]}")
            if upload.received != offset:
                raise WrongState(
                    f"another part was received meanwhile: the upload ends at {upload.received:,}",
                    details={"received": upload.received},
                )
            upload.received = received
            upload.expires_at = time.time() + self.settings.upload_lifetime_s
            answer = upload_document(upload)
            if received < upload.size:
                return answer
            path, folder = upload_file(self.data_dir, upload_id), dataset_folder(self.data_dir, upload.dataset_id)
            dataset = datasets.find(session, upload.dataset_id, None)
            assert dataset is not None
            folder.mkdir(parents=True, exist_ok=True)
            path.replace(folder / "upload")
            dataset.status, dataset.num_bytes = DatasetStatus.VALIDATING, upload.size
            dataset.reason = {"code": "validating", "message": "waits for its files to be looked at", "details": {}}
            datasets.end_upload(session, upload.dataset_id)
            return answer

    def abort(self, caller: Caller, upload_id: str) -> None:
        """Drop an upload and its dataset."""
        require(caller, "write")
        with self.database.transaction() as session:
            self._drop(session, self._find(session, caller, upload_id))

    def expire(self) -> int:
        """Drop the uploads whose time is over; how many there were."""
        with self.database.transaction() as session:
            found = datasets.expired_uploads(session, time.time())
            for upload in found:
                self._drop(session, upload)
            return len(found)

    def _drop(self, session: Any, upload: Upload) -> None:
        dataset = datasets.find(session, upload.dataset_id, None)
        datasets.end_upload(session, upload.dataset_id)
        if dataset is not None:
            datasets.remove(session, dataset)
        upload_file(self.data_dir, upload.id).unlink(missing_ok=True)
        shutil.rmtree(dataset_folder(self.data_dir, upload.dataset_id), ignore_errors=True)

    @staticmethod
    def _find(session: Any, caller: Caller, upload_id: str) -> Upload:
        upload = datasets.upload(session, upload_id, caller.visible_team)
        if upload is None:
            raise NotFound(f"no upload {upload_id[:100]}, or it has ended: look at its dataset")
        return upload
