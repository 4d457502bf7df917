"""Statements about datasets and their uploads."""

from __future__ import annotations

import time

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app.models import Dataset, DatasetStatus, Job, Upload
from app.models.tables import ENDED
from app.store.pages import newest_first


def add(session: Session, dataset: Dataset) -> Dataset:
    """Store a dataset; its id is set."""
    session.add(dataset)
    session.flush()
    return dataset


def add_upload(session: Session, upload: Upload) -> Upload:
    """Store an upload; its id is set."""
    session.add(upload)
    session.flush()
    return upload


def find(session: Session, dataset_id: str, team_id: str | None) -> Dataset | None:
    """A dataset, of that team if one is given."""
    wanted = select(Dataset).where(Dataset.id == dataset_id)
    if team_id is not None:
        wanted = wanted.where(Dataset.team_id == team_id)
    return session.scalar(wanted)


def upload(session: Session, upload_id: str, team_id: str | None, *, is_locked: bool = False) -> Upload | None:
    """An upload that has not ended, of that team if one is given."""
    wanted = select(Upload).where(Upload.id == upload_id)
    if team_id is not None:
        wanted = wanted.where(Upload.team_id == team_id)
    return session.scalar(wanted.with_for_update() if is_locked else wanted)


def upload_of(session: Session, dataset_id: str) -> Upload | None:
    """The upload of a dataset, while it lasts."""
    return session.scalar(select(Upload).where(Upload.dataset_id == dataset_id))


def listed(
    session: Session, team_id: str | None, status: str | None, limit: int, after: str | None
) -> tuple[list[Dataset], str | None]:
    """(datasets, newest first; the cursor of the next page)."""
    wanted = select(Dataset)
    if team_id is not None:
        wanted = wanted.where(Dataset.team_id == team_id)
    if status is not None:
        wanted = wanted.where(Dataset.status == status)
    return newest_first(session, Dataset, wanted, limit, after)


def claim(session: Session, lease_s: float) -> Dataset | None:
    """The oldest dataset that nobody validates; it is the caller's for `lease_s`."""
    now = time.time()
    is_free = Dataset.lease_expires_at.is_(None) | (Dataset.lease_expires_at < now)
    wanted = select(Dataset).where(Dataset.status == DatasetStatus.VALIDATING, is_free)
    oldest = session.scalar(wanted.order_by(Dataset.created_at).limit(1).with_for_update(skip_locked=True))
    if oldest is not None:
        oldest.lease_expires_at = now + lease_s
    return oldest


def held(session: Session, dataset_id: str, lease_expires_at: float) -> Dataset | None:
    """A dataset that is still validated under this lease: one that was taken by another worker has a later one."""
    wanted = select(Dataset).where(
        Dataset.id == dataset_id,
        Dataset.status == DatasetStatus.VALIDATING,
        Dataset.lease_expires_at == lease_expires_at,
    )
    return session.scalar(wanted.with_for_update())


def end_upload(session: Session, dataset_id: str) -> None:
    """Forget the upload of a dataset."""
    session.execute(delete(Upload).where(Upload.dataset_id == dataset_id))


def expired_uploads(session: Session, now: float) -> list[Upload]:
    """Uploads whose time is over."""
    return list(session.scalars(select(Upload).where(Upload.expires_at < now).with_for_update(skip_locked=True)))


def users(session: Session, dataset_id: str) -> list[str]:
    """Ids of the jobs that have not ended and use a dataset, as their data or as their weights."""
    names = [Job.request[field].as_string() == dataset_id for field in ("dataset", "weights")]
    wanted = select(Job.id).where(Job.status.not_in(ENDED), or_(*names))
    return list(session.scalars(wanted.order_by(Job.created_at)))


def remove(session: Session, dataset: Dataset) -> None:
    """Forget a dataset whose uploads are forgotten."""
    session.flush()
    session.delete(dataset)
