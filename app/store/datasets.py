"""Statements about datasets and their uploads."""

from __future__ import annotations

import time

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app.models import Dataset, DatasetStatus, Job, Plan, PlanStatus, Upload
from app.models.tables import ENDED
from app.store import owned
from app.store.owned import add as add
from app.store.pages import newest_first


def find(
    session: Session, dataset_id: str, team_id: str | None, *, is_locked: bool = False, is_kept: bool = False
) -> Dataset | None:
    """A dataset, of that team if one is given; locks as in `owned.find`."""
    return owned.find(session, Dataset, dataset_id, team_id, is_locked=is_locked, is_kept=is_kept)


def upload(session: Session, upload_id: str, team_id: str | None, *, is_locked: bool = False) -> Upload | None:
    """An upload that has not ended, of that team if one is given."""
    return owned.find(session, Upload, upload_id, team_id, is_locked=is_locked)


def upload_of(session: Session, dataset_id: str) -> Upload | None:
    """The upload of a dataset, while it lasts."""
    return session.scalar(select(Upload).where(Upload.dataset_id == dataset_id))


def listed(
    session: Session, team_id: str | None, status: str | None, limit: int, after: str | None
) -> tuple[list[Dataset], str | None]:
    """(datasets, newest first; the cursor of the next page)."""
    wanted = owned.of_team(Dataset, team_id)
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


def users(session: Session, dataset_id: str) -> tuple[list[str], list[str]]:
    """(ids of the jobs, ids of the plans) that have not ended and use a dataset, as their data or as their weights."""
    in_job = [Job.request[field].as_string() == dataset_id for field in ("dataset", "weights")]
    jobs = select(Job.id).where(Job.status.not_in(ENDED), or_(*in_job)).order_by(Job.created_at)
    in_plan = [Plan.request[field].as_string() == dataset_id for field in ("data", "weights")]
    is_made = Plan.status.in_((PlanStatus.QUEUED, PlanStatus.RUNNING))
    plans = select(Plan.id).where(is_made, or_(*in_plan)).order_by(Plan.created_at)
    return list(session.scalars(jobs)), list(session.scalars(plans))


def remove(session: Session, dataset: Dataset) -> None:
    """Forget a dataset whose uploads are forgotten."""
    session.flush()
    session.delete(dataset)
