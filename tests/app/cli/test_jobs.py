"""Commands about jobs against the real service: text, JSON and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.cli import jobs, resources, teams
from app.client import Client
from app.models.tables import Event, Job, JobStatus
from tests.app.cli.test_service import command_line

Run = Callable[..., Result]
SUBMIT = ("submit", "s2a_tiny", "--data", "digits", "--budget", "64MiB")


@pytest.fixture
def run(service: TestClient, transport: httpx.MockTransport, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*words) is one command line against a service in this process."""
    key = service.headers["Authorization"].split()[1]

    def connect(url: str | None, given: str | None) -> Client:
        return Client("http://testserver", given or key, transport)

    for module in (jobs, resources, teams):
        monkeypatch.setattr(module, "connect", connect)
    return lambda *words: CliRunner().invoke(command_line(), list(words))


def document(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_a_job_is_submitted_listed_shown_paused_resumed_and_cancelled(run: Run) -> None:
    job = document(run(*SUBMIT, "--name", "one", "--json"))
    assert job["status"] == "queued"
    assert job["id"] in run("jobs").stdout
    shown = run("show", job["id"]).stdout
    assert "waits for the scheduler" in shown
    assert "64 MiB" in shown or "64.0 MiB" in shown
    for command, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert document(run(command, job["id"], "--json"))["status"] == status
    assert run("cancel", job["id"]).exit_code == 2
    assert document(run("jobs", "--status", "failed", "--json")) == {"items": []}
    assert document(run("watch", job["id"], "--json"))["status"] == "cancelled"


def test_what_is_wrong_is_said_with_exit_code_two(run: Run) -> None:
    done = run("submit", "s2a_tiny", "--data", "digits", "--budget", "much")
    assert done.exit_code == 2
    assert "budget" in done.output
    assert run("show", "job_missing").exit_code == 2


def test_a_list_says_what_it_leaves_out_and_what_was_looked_for(run: Run) -> None:
    assert "no job yet: s2a submit" in run("jobs").stdout
    ids = [document(run(*SUBMIT, "--json"))["id"] for _ in range(2)]
    done = run("jobs", "--limit", "1", "--json")
    assert [job["id"] for job in json.loads(done.stdout)["items"]] == ids[1:]
    assert "these are the newest 1: --limit 10 shows more" in done.stderr
    assert "these are the newest" not in run("jobs", "--limit", "2").stderr
    assert run("jobs", "--status", "failed").stdout == "no job is failed\n"
    assert run("jobs", "--search", "[red]x").stdout == "no job has the words [red]x\n"


@pytest.mark.parametrize(("code", "exit_code"), [("out_of_memory", 4), ("infeasible_budget", 3), ("plan_missed", 3)])
def test_watching_a_failed_job_ends_with_its_reason_and_code(
    run: Run, service: TestClient, code: str, exit_code: int
) -> None:
    job_id = document(run(*SUBMIT, "--json"))["id"]
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        job = session.get(Job, job_id)
        job.status, job.reason = JobStatus.FAILED, {"code": code, "message": "too small", "details": {"asked": 1}}
        session.add(Event(job_id=job_id, seq=2, epoch=1, type="phase", payload={"name": "training"}))
        session.add(Event(job_id=job_id, seq=3, epoch=1, type="failed", payload={}))
    done = run("watch", job_id)
    assert done.exit_code == exit_code
    assert "training" in done.output
    assert "too small" in done.output


def test_a_jobs_files_are_fetched_into_a_folder(
    run: Run, service: TestClient, submit: Any, scheduler: Any, executor: Any, tmp_path: Path
) -> None:
    job = submit()
    assert run("download", job).exit_code == 2
    scheduler.tick()
    url = f"/v1/runner/attempts/{executor.launched[-1]['attempt']}/artifacts/report.json"
    headers = {"Authorization": f"Bearer {executor.launched[-1]['token']}"}
    assert service.put(url, content=b'{"accuracy": 1}', headers=headers).status_code == 200
    told = document(run("download", job, "--output", str(tmp_path / "out"), "--json"))
    assert (told["job"], [file["name"] for file in told["items"]]) == (job, ["report.json"])
    assert (tmp_path / "out" / "report.json").read_bytes() == b'{"accuracy": 1}'
