"""Commands about jobs of a service: submit jobs show watch cancel pause resume download."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from app.cli import options
from app.cli.connection import Key, Url, connect, sent
from app.cli.terminal import Terminal
from s2a_core.errors import InvalidInput, JobFailed
from s2a_core.requests import FIELDS

SUBMITTED = tuple(name for name in FIELDS if name != "num_classes")  # the data says how many there are
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Its id, as `s2a jobs` lists it.")]
Status = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]


@options.takes(SUBMITTED, data="the plan's", model="the plan's", weights="pretrained ones")
def submit(
    ctx: typer.Context,
    asked: options.Asked,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="PLAN", help="A plan's id, instead of a budget.")
    ] = None,
    priority: Annotated[Literal["low", "normal", "high"], typer.Option(help="How urgent it is.")] = "normal",
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    follow: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Queue a job on a service; prints its id. --data and --weights may be ids of uploads (`s2a datasets`)."""
    terminal: Terminal = ctx.obj
    with terminal.busy("sending the job"):
        client = connect(url, key)
        job = client.submit(**sent(asked), plan=plan, priority=priority, name=name)
    with client:
        if follow:
            terminal.note(f"[name]{job['id']}[/] queued")
            _watch(terminal, client, job["id"])
            return
    _show(terminal, job)
    terminal.note(f"follow it: s2a watch {job['id']}")


def jobs(
    ctx: typer.Context,
    status: Annotated[Status | None, typer.Option("--status", help="Only jobs of this status.")] = None,
    search: Annotated[
        str, typer.Option("--search", metavar="WORDS", help="Only jobs with these words in name, id, model or data.")
    ] = "",
    limit: options.Limit = 50,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """List jobs, newest first."""
    from app.cli import tables

    terminal: Terminal = ctx.obj
    with connect(url, key) as client:
        items = terminal.first(client.jobs(status, search), limit)
    terminal.document({"items": items})
    wanted = " ".join((f"is {status}" if status else "", f"has the words {escape(search)}" if search else "")).strip()
    nothing = f"no job {wanted}" if wanted else "no job yet: s2a submit s2a_tiny --data digits --budget 16MiB"
    terminal.say(tables.jobs(items) if items else nothing)
    for line in tables.reasons(items):
        terminal.say(line)


def show(ctx: typer.Context, job: JobId, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Show one job."""
    with connect(url, key) as client:
        _show(ctx.obj, client.job(job))


def watch(ctx: typer.Context, job: JobId, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Follow a job until it ends; exit code 4 when it failed, 3 when nothing fits its budget."""
    with ctx.obj.busy("reaching the service"):
        client = connect(url, key)
        client.job(job)
    with client:
        _watch(ctx.obj, client, job)


def cancel(ctx: typer.Context, job: JobId, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Stop a job for good."""
    with connect(url, key) as client:
        _show(ctx.obj, client.cancel(job))


def pause(ctx: typer.Context, job: JobId, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Stop a job so that it can be resumed."""
    with connect(url, key) as client:
        _show(ctx.obj, client.pause(job))


def resume(ctx: typer.Context, job: JobId, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Queue a paused job again."""
    with connect(url, key) as client:
        _show(ctx.obj, client.resume(job))


def download(
    ctx: typer.Context,
    job: JobId,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Where to; a folder named after the job by default.")
    ] = None,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Fetch a job's files; s2a predict and s2a export take the folder."""
    terminal: Terminal = ctx.obj
    folder = output or Path(job)
    with connect(url, key) as client:
        artifacts = client.artifacts(job)
        if not artifacts:
            raise InvalidInput(f"{job} has no files: it is {client.job(job)['status']}")
        folder.mkdir(parents=True, exist_ok=True)
        for file in artifacts:
            content = client.artifact(job, file["name"])
            if hashlib.sha256(content).hexdigest() != file["sha256"]:
                raise JobFailed(f"{file['name']} arrived with another checksum: try again")
            (folder / file["name"]).write_bytes(content)
    terminal.document({"job": job, "folder": str(folder), "items": artifacts})
    terminal.say(escape(f"{len(artifacts)} files in {folder}: " + ", ".join(file["name"] for file in artifacts)))


def _show(terminal: Terminal, job: dict[str, Any]) -> None:
    from app.cli import tables

    terminal.document(job)
    terminal.say(tables.job(job))


def _watch(terminal: Terminal, client: Any, job_id: str) -> None:
    from app.cli.progress import follower
    from app.client.errors import failure_of

    job = client.job(job_id)
    with follower(terminal, job["budget_bytes"]) as tell:
        if job["status"] == "queued":
            tell({"type": "phase", "name": "waiting in the queue"})
            tell({"type": "stage", "phase": "waiting in the queue", "message": job["reason"]["message"]})
        for event in client.events(job_id):
            kind = event["type"]
            if kind in ("phase", "stage", "progress", "plan", "step", "epoch", "warning", "log", "note"):
                tell(event)
            elif kind != "checkpoint":
                tell({"type": "note", "message": kind})
    ended = client.job(job_id)
    _show(terminal, ended)
    if ended["status"] == "failed":
        reason = ended.get("reason") or {}
        raise failure_of(reason, f"{job_id} failed: {reason.get('message', 'no reason given')}")
