"""What a job left behind: its attempts, metrics, checkpoints and artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.errors import NotFound
from app.models import Artifact, Attempt, Checkpoint
from app.services.jobs import JobService, job_folder
from app.services.keys import Caller
from app.store import jobs, series
from app.store.database import Database

LOG_TAIL_BYTES = 16_384


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the API shows it; its token and its process's handle stay inside."""
    return {
        "id": attempt.id,
        "epoch": attempt.epoch,
        "state": attempt.state,
        "device_id": attempt.device_id,
        "is_live": attempt.is_live,
        "reserved_bytes": attempt.reserved_bytes,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "heartbeat_at": attempt.heartbeat_at,
        "progress_at": attempt.progress_at,
        "reason": attempt.reason,
        "verdict": attempt.verdict,
        "resumed_from_step": attempt.resumed_from_step,
    }


def checkpoint_document(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as the API shows it."""
    return {
        "id": checkpoint.id,
        "attempt": checkpoint.attempt_epoch,
        "step": checkpoint.step,
        "num_bytes": checkpoint.num_bytes,
        "sha256": checkpoint.sha256,
        "created_at": checkpoint.created_at,
    }


def artifact_document(artifact: Artifact) -> dict[str, Any]:
    """A file as the API shows it."""
    return {"name": artifact.name, "num_bytes": artifact.num_bytes, "sha256": artifact.sha256}


class ResultService:
    """Reads what a job the caller sees has left; a job of another team is NotFound."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self.database, self.data_dir = database, data_dir

    def attempts(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Attempts, the newest first."""
        with self.database.reading() as session:
            JobService.look(session, caller, job_id)
            return {"items": [attempt_document(attempt) for attempt in series.attempts(session, job_id)]}

    def checkpoints(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Checkpoints, the newest first."""
        with self.database.reading() as session:
            JobService.look(session, caller, job_id)
            return {"items": [checkpoint_document(row) for row in series.checkpoints(session, job_id)]}

    def metrics(self, caller: Caller, job_id: str, name: str | None, after_step: int, limit: int) -> dict[str, Any]:
        """The event of every epoch, and series of points {step, value, at} by name."""
        with self.database.reading() as session:
            JobService.look(session, caller, job_id)
            curves: dict[str, list[dict[str, Any]]] = {}
            for point in series.metrics(session, job_id, name, after_step, limit):
                curves.setdefault(point.name, []).append({"step": point.step, "value": point.value, "at": point.at})
            epochs = [
                {**event.payload, "seq": event.seq, "type": event.type, "at": event.at, "attempt": event.epoch}
                for event in jobs.events_of(session, job_id, "epoch")
            ]
            return {"items": epochs, "series": curves}

    def log(self, caller: Caller, job_id: str) -> str:
        """The end of what the job's newest process wrote; empty where it wrote nothing."""
        with self.database.reading() as session:
            epoch = JobService.look(session, caller, job_id).current_epoch
        path = job_folder(self.data_dir, job_id) / f"attempt-{epoch}.log"
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def artifacts(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Names, sizes and checksums of a job's files."""
        with self.database.reading() as session:
            JobService.look(session, caller, job_id)
            return {"items": [artifact_document(row) for row in jobs.artifacts(session, job_id)]}

    def artifact(self, caller: Caller, job_id: str, name: str) -> tuple[Path, dict[str, Any]]:
        """(file, document); only names that were stored are answered, so no path can be made up."""
        with self.database.reading() as session:
            JobService.look(session, caller, job_id)
            row = jobs.artifact(session, job_id, name)
            path = job_folder(self.data_dir, job_id) / "artifacts" / name
            if row is None or not path.is_file():
                raise NotFound(f"job {job_id} has no artifact {name[:100]!r}")
            return path, artifact_document(row)
