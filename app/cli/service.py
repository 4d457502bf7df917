"""Commands that start the service or talk to it: serve submit jobs show watch cancel pause resume keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.terminal import Terminal
from s2a_core.errors import JobFailed
from s2a_core.sizes import format_bytes

if TYPE_CHECKING:
    from app.client import Client

Url = Annotated[str, typer.Option("--url", envvar="S2A_URL", help="The service.")]
Key = Annotated[str, typer.Option("--key", envvar="S2A_KEY", help="An API key, s2a_...")]
JobId = Annotated[str, typer.Argument(metavar="JOB")]
LOCAL = "http://127.0.0.1:8000"
PANEL = "A service"


def register(app: typer.Typer) -> None:
    """Add every command."""
    for command in (serve, submit, jobs, show, watch, cancel, pause, resume):
        app.command(command.__name__, rich_help_panel=PANEL)(command)
    keys = typer.Typer(no_args_is_help=True)
    keys.command("create")(create_key)
    keys.callback()(keys_group)
    app.add_typer(keys, name="keys", help="API keys.", rich_help_panel=PANEL)


def keys_group() -> None:
    """API keys."""


def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    db: Annotated[str | None, typer.Option("--db", help="Database URL; SQLite under S2A_DATA_DIR by default.")] = None,
    json: options.Json = False,
) -> None:
    """Start the service here. On an empty database it prints a first admin key, once."""
    import uvicorn

    from app.main import create_app, prepare
    from app.settings import Settings

    terminal: Terminal = ctx.obj
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    settings = Settings(database_url=db) if db else Settings()
    if "public_url" not in settings.model_fields_set:
        settings = settings.model_copy(update={"public_url": f"http://{reached}:{port}"})
    app = create_app(settings)
    first_key = prepare(app)
    if first_key:
        terminal.note(f"first admin key, shown once: {first_key}")
    terminal.note(f"s2a on http://{reached}:{port}/")
    uvicorn.run(app, host=host, port=port, log_level="warning")


def submit(
    ctx: typer.Context,
    model: options.Model,
    data: Annotated[str, typer.Option("--data", help="A source that the service's machine can read.")],
    budget: options.Budget,
    weights: options.Weights = None,
    adapter: options.Adapter = "auto",
    objective: options.ObjectiveOption = "accuracy",
    epochs: Annotated[int, typer.Option(min=1)] = 3,
    batch_size: options.BatchSize = 64,
    seed: options.Seed = 0,
    priority: Annotated[str, typer.Option(help="low, normal or high.")] = "normal",
    url: Url = LOCAL,
    key: Key = "",
    json: options.Json = False,
) -> None:
    """Queue a job; prints its id."""
    with _client(url, key) as client:
        job = client.submit(
            model=model,
            data=str(Path(data).resolve()) if Path(data).exists() else data,
            budget=budget,
            weights=weights,
            adapter=adapter,
            objective=objective,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            priority=priority,
        )
    _show(ctx.obj, job)


def jobs(ctx: typer.Context, url: Url = LOCAL, key: Key = "", json: options.Json = False) -> None:
    """List jobs, newest first."""
    terminal: Terminal = ctx.obj
    with _client(url, key) as client:
        found = list(client.jobs())
    terminal.document({"items": found})
    for job in found:
        terminal.say(_line(job))


def show(ctx: typer.Context, job: JobId, url: Url = LOCAL, key: Key = "", json: options.Json = False) -> None:
    """Show one job."""
    with _client(url, key) as client:
        _show(ctx.obj, client.job(job))


def watch(ctx: typer.Context, job: JobId, url: Url = LOCAL, key: Key = "", json: options.Json = False) -> None:
    """Follow a job until it ends; exit code 4 when it failed."""
    terminal: Terminal = ctx.obj
    with _client(url, key) as client:
        for event in client.events(job):
            terminal.note(f"{event['seq']:>5} {event['type']}")
        ended = client.job(job)
    _show(terminal, ended)
    if ended["status"] == "failed":
        reason = ended.get("reason") or {}
        raise JobFailed(f"{job} failed: {reason.get('message', 'no reason given')}", details=reason)


def cancel(ctx: typer.Context, job: JobId, url: Url = LOCAL, key: Key = "", json: options.Json = False) -> None:
    """Stop a job for good."""
    with _client(url, key) as client:
        _show(ctx.obj, client.ask(job, "cancel"))


def pause(ctx: typer.Context, job: JobId, url: Url = LOCAL, key: Key = "", json: options.Json = False) -> None:
    """Stop a job so that it can be resumed."""
    with _client(url, key) as client:
        _show(ctx.obj, client.ask(job, "pause"))


def resume(ctx: typer.Context, job: JobId, url: Url = LOCAL, key: Key = "", json: options.Json = False) -> None:
    """Queue a paused job again."""
    with _client(url, key) as client:
        _show(ctx.obj, client.ask(job, "resume"))


def create_key(
    ctx: typer.Context,
    team: Annotated[str, typer.Option("--team", help="Whose jobs this key sees.")],
    scope: Annotated[str, typer.Option(help="user or admin.")] = "user",
    url: Url = LOCAL,
    key: Key = "",
    json: options.Json = False,
) -> None:
    """Make an API key; it is shown once."""
    terminal: Terminal = ctx.obj
    with _client(url, key) as client:
        made = client.create_key(team, scope)
    terminal.document({"key": made})
    terminal.say(made)


def _client(url: str, key: str) -> Client:
    from app.client import Client

    return Client(url, key)


def _line(job: dict[str, Any]) -> str:
    request = job["request"]
    budget = format_bytes(job["budget_bytes"])
    return f"{job['id']}  {job['status']:<10}  {request['model']} on {request['data']}  {budget}"


def _show(terminal: Terminal, job: dict[str, Any]) -> None:
    terminal.document(job)
    terminal.say(_line(job))
    if job.get("reason"):
        terminal.say(f"  {job['reason']['message']}")
