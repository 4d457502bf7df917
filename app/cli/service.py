"""The commands of a service: `serve` starts it, the others talk to it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import jobs, options, resources
from app.cli.terminal import Terminal

PANEL = "A service"


def register(app: typer.Typer) -> None:
    """Add every command."""
    commands = (serve, jobs.submit, jobs.jobs, jobs.show, jobs.watch, jobs.cancel, jobs.pause, jobs.resume)
    for command in (*commands, resources.devices):
        app.command(command.__name__, rich_help_panel=PANEL)(command)
    for name in resources.GROUPS:
        app.add_typer(resources.group(name), name=name, rich_help_panel=PANEL)


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
    given: dict[str, Any] = {"public_url": f"http://{reached}:{port}", **({"database_url": db} if db else {})}
    app = create_app(Settings(**given))
    first_key = prepare(app)
    url = f"http://{reached}:{port}/"
    terminal.document({"url": url, "first_admin_key": first_key})
    if first_key:
        terminal.note(f"first admin key, shown once: {first_key}")
        terminal.note(f"  export S2A_URL={url.rstrip('/')} S2A_API_KEY={first_key}")
    terminal.note(f"s2a on {url}")
    uvicorn.run(app, host=host, port=port, log_level="warning")
