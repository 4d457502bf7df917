"""Uploads in parts: each part says where it begins, so a client that was cut off asks and goes on from there."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from anyio import CancelScope, move_on_after, to_thread

from app.errors import InProgress, NotFound, TooLarge, WrongState
from app.models import DatasetStatus, Upload
from app.private import private_folder
from app.services.datasets import dataset_folder, remove_parts, upload_document, upload_file
from app.services.keys import Caller, require
from app.settings import Settings
from app.store import datasets
from app.store.database import Database
from s2a_core.sizes import format_bytes


class OneWriter:
    """Held by the one request, of all servers on this data directory, that writes an upload; it ends with its process.

    Raises InProgress where another one holds it. The lock has a file of its own: the upload's moves to its dataset.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._handle = path, -1

    def __enter__(self) -> None:
        private_folder(self.path.parent)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            message = "another part of this upload is being received: ask for `received` and send from there"
            raise InProgress(message, details={"retry_after_s": 2}) from error
        self._handle = handle

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


async def timely(chunks: AsyncIterator[bytes], idle_s: float) -> AsyncIterator[bytes]:
    """The chunks; a sender that says nothing for so long has gone, and what arrived of its part is kept."""
    while True:
        chunk = None
        with move_on_after(idle_s):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


def write_whole(handle: int, content: bytes, at: int) -> None:
    """Write all of it: a disk that is nearly full takes a part and says so by a number only."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(handle, rest, at)
        rest, at = rest[written:], at + written


def stored(handle: int, num_bytes: int) -> None:
    """Close a file once its first `num_bytes` are on the disk and are all there is of it."""
    try:
        os.ftruncate(handle, num_bytes)
        os.fsync(handle)
    finally:
        os.close(handle)


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
        path = upload_file(self.data_dir, (await to_thread.run_sync(self._begin, caller, upload_id, None)).id)
        with OneWriter(path.with_suffix(".lock")):
            upload = await to_thread.run_sync(self._begin, caller, upload_id, offset)
            if offset and not path.exists():
                await to_thread.run_sync(self._take_back, upload, path)
            at, is_too_long = offset, False
            handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.ftruncate(handle, offset)
                async for chunk in timely(chunks, self.settings.upload_idle_s):
                    is_too_long = at + len(chunk) > upload.size
                    if is_too_long:
                        break
                    await to_thread.run_sync(write_whole, handle, chunk, at)
                    at += len(chunk)
            finally:
                with CancelScope(shield=True):
                    received = offset if is_too_long else at
                    await to_thread.run_sync(stored, handle, received)
                    done = await to_thread.run_sync(self._received, upload.id, offset, received)
        if is_too_long:
            missing = upload.size - offset
            raise TooLarge(
                f"the part is longer than what is missing ({format_bytes(missing)})", details={"max_bytes": missing}
            )
        return done

    def _begin(self, caller: Caller, upload_id: str, offset: int | None) -> Upload:
        with self.database.reading() as session:
            upload = self._find(session, caller, upload_id)
            if offset not in (None, upload.received):
                raise WrongState(
                    f"the part begins at {offset}, the upload ends at {upload.received:,}: send from there",
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
            if upload is None:  # dropped, or ended by another part: what this one wrote is nobody's
                remove_parts(self.data_dir, upload_id)
                raise NotFound(f"no upload {upload_id[:100]}, or it has ended: look at its dataset")
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
            if path.stat().st_size != upload.size:
                raise WrongState(
                    f"{path.stat().st_size:,} of {upload.size:,} bytes are on the disk: begin the upload again"
                )
            private_folder(folder)
            path.replace(folder / "upload")
            path.with_suffix(".lock").unlink(missing_ok=True)
            dataset.status, dataset.num_bytes = DatasetStatus.VALIDATING, upload.size
            dataset.reason = {"code": "validating", "message": "waits for its files to be looked at", "details": {}}
            datasets.end_upload(session, upload.dataset_id)
            return answer

    def abort(self, caller: Caller, upload_id: str) -> None:
        """Drop an upload and its dataset."""
        require(caller, "write")
        with self.database.transaction() as session:
            upload = self._find(session, caller, upload_id)
            self._forget(session, upload)
        self._delete(upload)

    def expire(self) -> int:
        """Drop the uploads whose time is over; how many there were."""
        with self.database.transaction() as session:
            expired = datasets.expired_uploads(session, time.time())
            for upload in expired:
                self._forget(session, upload)
        for upload in expired:
            self._delete(upload)
        return len(expired)

    @staticmethod
    def _forget(session: Any, upload: Upload) -> None:
        dataset = datasets.find(session, upload.dataset_id, None)
        datasets.end_upload(session, upload.dataset_id)
        if dataset is not None:
            datasets.remove(session, dataset)

    def _delete(self, upload: Upload) -> None:
        """Delete the files of an upload that is forgotten."""
        remove_parts(self.data_dir, upload.id)
        shutil.rmtree(dataset_folder(self.data_dir, upload.dataset_id), ignore_errors=True)

    @staticmethod
    def _find(session: Any, caller: Caller, upload_id: str) -> Upload:
        upload = datasets.upload(session, upload_id, caller.visible_team)
        if upload is None:
            raise NotFound(f"no upload {upload_id[:100]}, or it has ended: look at its dataset")
        return upload
