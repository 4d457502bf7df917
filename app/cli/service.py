"""The commands of a service: `serve` starts it, the others talk to it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import database, jobs, options, resources, teams
from app.cli.server import database_errors, read_settings
from app.cli.terminal import Terminal
from s2a_core.errors import InvalidInput

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from app.settings import Settings

PANEL = "A service"


def register(app: typer.Typer) -> None:
    """Add every command."""
    commands = (serve, jobs.submit, jobs.jobs, jobs.show, jobs.watch, jobs.cancel, jobs.pause, jobs.resume)
    for command in (*commands, jobs.download, resources.devices, teams.whoami):
        app.command(command.__name__, rich_help_panel=PANEL)(command)
    app.add_typer(database.commands(), name="db", rich_help_panel=PANEL)
    for name, (lister, members) in {**resources.GROUPS, "teams": teams.GROUP}.items():
        app.add_typer(resources.group(lister, members), name=name, rich_help_panel=PANEL)


def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    db: Annotated[str | None, typer.Option("--db", help="Database URL; SQLite under S2A_DATA_DIR by default.")] = None,
    json: options.Json = False,
) -> None:
    """Start the service here. On an empty database it prints a first admin key, once."""
    import uvicorn

    terminal: Terminal = ctx.obj
    os.umask(0o077)  # what the service and its jobs make is for their own user
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    url = f"http://{reached}:{port}/"
    settings = read_settings()
    given = {"database_url": db} if db else {}
    if "public_url" not in settings.model_fields_set:  # S2A_PUBLIC_URL, where runners on other machines reach it
        given["public_url"] = url.rstrip("/")
    settings = settings.model_copy(update=given)
    listener = listen(host, port)
    app, first_key = prepared(settings)
    terminal.document({"url": url, "first_admin_key": first_key})
    if first_key:
        terminal.note(f"first admin key, shown once: {first_key}")
        terminal.note(f"  export S2A_URL={url.rstrip('/')} S2A_API_KEY={first_key}")
    terminal.note(f"s2a on {url} (Ctrl-C stops it; running jobs go on and are found again)")
    server = uvicorn.Server(server_config(app, settings))
    server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(1)


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the application. It believes X-Forwarded-Proto and -For of FORWARDED_ALLOW_IPS alone."""
    import uvicorn

    return uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=settings.drain_s)


def prepared(settings: Settings) -> tuple[FastAPI, str | None]:
    """The application on its database, and the first key if it was made. Raises as `database_errors`."""
    from app.executors.select import check_executor
    from app.main import create_app, prepare

    if settings.run_scheduler:
        check_executor(settings)
    with database_errors():
        app = create_app(settings)
        return app, prepare(app)


def listen(host: str, port: int) -> socket.socket:
    """A socket on that address; InvalidInput when somebody else has it, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: asyncio then sets TCP_NODELAY
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        message = f"cannot listen on {host}:{port} ({error.strerror}): choose another --host or --port"
        raise InvalidInput(message, details={"host": host, "port": port}) from error
    listener.set_inheritable(False)
    return listener
