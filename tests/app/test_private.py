"""What the service keeps is for its own user: database, job folders, secrets, spools, logs and uploads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.main import create_app, prepare
from app.private import FOLDERS, kept_secret, private_file, private_folder, protect
from app.settings import Settings
from s2a_core.errors import InvalidInput
from tests.faults.service import RunningService


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def others_may(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode) & 0o077


def test_folders_and_files(tmp_path: Path) -> None:
    assert not any(map(others_may, (private_folder(tmp_path / "a" / "b"), tmp_path / "a")))
    (tmp_path / "old").write_text("x")
    private_file(tmp_path / "old")
    private_file(tmp_path / "new")
    assert not any(map(others_may, (tmp_path / "old", tmp_path / "new")))
    assert (tmp_path / "old").read_text() == "x"


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    made = iter((b"first", b"second"))
    assert [kept_secret(tmp_path / "s", lambda: next(made)) for _ in range(2)] == [b"first", b"first"]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_what_an_older_version_left_open_is_closed(tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    protect(tmp_path)
    assert not any(others_may(tmp_path / name) for name in FOLDERS)


def test_the_database_and_every_folder(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path / "data", run_scheduler=False, run_workers=False))
    prepare(app)
    found = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert {path.name for path in found} >= {"s2a.db", "s2a.db-wal", "session.secret", "jobs", "uploads"}
    assert [path for path in found if others_may(path)] == []
    app.state.database.close()
    app.state.server.release()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_everything_a_job_leaves(tmp_path: Path) -> None:
    service = RunningService(tmp_path / "data", capacity_bytes=2**30).start()
    try:
        job = service.submit(model="s2a_tiny", data="digits", budget="64MiB", epochs=1)
        assert service.wait_until(job, "succeeded", "failed", seconds=300)["status"] == "succeeded"
    finally:
        service.stop()
    found = [path for path in (tmp_path / "data").rglob("*") if path.name != "service.log"]
    assert len(found) > 10
    assert [path for path in found if others_may(path)] == []


def test_an_empty_secret_is_refused_and_not_signed_with(tmp_path: Path) -> None:
    (tmp_path / "session.secret").touch()
    with pytest.raises(InvalidInput, match="is empty"):
        kept_secret(tmp_path / "session.secret", lambda: b"new")
