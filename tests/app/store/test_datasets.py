"""A dataset is claimed by one worker until its lease runs out."""

from __future__ import annotations

from app.models import Dataset, Job, Upload
from app.store import datasets
from app.store.database import Database


def test_claims_and_users(filled: Database) -> None:
    with filled.transaction() as session:
        made = datasets.add(session, Dataset(team_id="team_1", name="d", source={"kind": "hub"}))
        assert datasets.claim(session, 60) is made
        assert datasets.claim(session, 60) is None
        made.lease_expires_at = 1.0
        assert datasets.claim(session, 60) is made
        assert made.lease_expires_at is not None
        assert datasets.held(session, made.id, made.lease_expires_at) is made
        assert datasets.held(session, made.id, 1.0) is None
        assert datasets.find(session, made.id, "team_2") is None
        session.add(Job(team_id="team_1", request={"dataset": made.id}, budget_bytes=1, id="job_2"))
        session.flush()
        assert datasets.users(session, made.id) == (["job_2"], [])


def test_uploads_end_with_their_time(filled: Database) -> None:
    with filled.transaction() as session:
        made = datasets.add(session, Dataset(team_id="team_1", name="d", source={}, status="uploading"))
        upload = datasets.add(session, Upload(team_id="team_1", dataset_id=made.id, size=3, expires_at=100.0))
        assert datasets.upload_of(session, made.id) is upload
        assert datasets.upload(session, upload.id, "team_2") is None
        assert datasets.expired_uploads(session, 99.0) == []
        assert datasets.expired_uploads(session, 101.0) == [upload]
        datasets.end_upload(session, made.id)
        datasets.remove(session, made)
        session.flush()
        assert datasets.find(session, made.id, None) is None
