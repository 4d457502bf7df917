"""Commands about what a service keeps: datasets plans devices keys. A group without a command lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.cli import options
from app.cli.connection import Key, Url, connect, in_full, sent
from app.cli.requests import require
from app.cli.terminal import Terminal
from app.expiry import parse_expiry
from s2a_core.errors import InvalidInput
from s2a_core.requests import PLANNED_FIELDS

DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="Its id, as `s2a datasets` lists it.")]
PlanId = Annotated[str, typer.Argument(metavar="PLAN", help="Its id, as `s2a plans` lists it.")]
Name = Annotated[str | None, typer.Option("--name", help="What people call it; the file's name by default.")]


def list_datasets(
    ctx: typer.Context, limit: options.Limit = 100, url: Url = None, key: Key = None, json: options.Json = False
) -> None:
    """Datasets: list them, upload one, see what was found in it."""
    _list(ctx, limit, url, key, "datasets", "no dataset yet: s2a datasets upload photos.zip")


def upload_dataset(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A zip or tar of CLASS/IMAGE; or .safetensors weights.")],
    name: Name = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="DATASET", help="Send the rest of this one.")
    ] = None,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Send an archive of images, or weights for `--weights ID`, in parts, then wait until it was looked at."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    terminal: Terminal = ctx.obj
    columns = (BarColumn(bar_width=40), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with connect(url, key) as client:
        with Progress(*columns, console=terminal.err, disable=not terminal.err.is_terminal) as progress:
            task = progress.add_task("upload", total=None)
            made = client.upload(file, name, resume, lambda at, size: progress.update(task, completed=at, total=size))
        terminal.note(f"[name]{made['id']}[/] has arrived and is being looked at")
        dataset = client.wait_dataset(made["id"])
    _dataset(terminal, dataset)
    option = "weights" if (dataset["summary"] or {}).get("contents") == "weights" else "data"
    terminal.note(f"a job uses it: s2a submit MODEL --{option} {dataset['id']} ...")


def add_dataset(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A directory of the service's machine, hf:owner/name.")
    ],
    name: Name = None,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Name images that are there already."""
    with connect(url, key) as client:
        made = client.add_dataset(name or Path(source).name or source, in_full(source))
        dataset = client.wait_dataset(made["id"])
    _dataset(ctx.obj, dataset)


def show_dataset(
    ctx: typer.Context, dataset: DatasetId, url: Url = None, key: Key = None, json: options.Json = False
) -> None:
    """Show one dataset."""
    with connect(url, key) as client:
        _say(ctx.obj, "datasets", client.dataset(dataset))


def remove_dataset(
    ctx: typer.Context, dataset: DatasetId, url: Url = None, key: Key = None, json: options.Json = False
) -> None:
    """Forget a dataset and its files."""
    terminal: Terminal = ctx.obj
    with connect(url, key) as client:
        client.remove_dataset(dataset)
    terminal.document({"id": dataset, "removed": True})
    terminal.say(f"{dataset} is gone")


def list_plans(
    ctx: typer.Context, limit: options.Limit = 100, url: Url = None, key: Key = None, json: options.Json = False
) -> None:
    """Plans of a service: list them, ask for one, see what it promises."""
    _list(ctx, limit, url, key, "plans", "no plan yet: s2a plans ask s2a_tiny --data digits --budget 16MiB")


@options.takes(PLANNED_FIELDS, **options.WITHOUT_PLAN)
def ask_plan(
    ctx: typer.Context,
    asked: options.Asked,
    wait_s: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for it.")] = 600.0,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Ask for a plan and wait for it; exit code 3 when nothing fits."""
    require(asked, "model", "budget_bytes")
    with connect(url, key) as client:
        plan = client.get_plan(client.plan(**sent(asked))["id"], wait_s=wait_s)
    _plan(ctx.obj, plan)


def show_plan(ctx: typer.Context, plan: PlanId, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Show one plan."""
    with connect(url, key) as client:
        _say(ctx.obj, "plan", client.get_plan(plan))


def devices(ctx: typer.Context, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Each device's memory as a bar with the jobs on it."""
    from app.cli import tables

    terminal: Terminal = ctx.obj
    with connect(url, key) as client:
        items = list(client.devices())
    terminal.document({"items": items})
    terminal.say(tables.devices(items))


def list_keys(
    ctx: typer.Context, limit: options.Limit = 100, url: Url = None, key: Key = None, json: options.Json = False
) -> None:
    """API keys: list them, make one, revoke one; needs an admin's key."""
    _list(ctx, limit, url, key, "keys", "no key")


def create_key(
    ctx: typer.Context,
    team: Annotated[str, typer.Option("--team", help="Whose jobs this key sees.")],
    scope: Annotated[
        Literal["read", "write", "admin"], typer.Option(help="read: look. write: submit too. admin: everything.")
    ] = "write",
    name: Annotated[str, typer.Option("--name", help="Whose it is, or what it is for.")] = "",
    expires: Annotated[
        str, typer.Option("--expires", metavar="WHEN", help="After 12h, 30d or 2w, or with a date such as 2027-01-31.")
    ] = "never",
    offline: Annotated[
        bool, typer.Option("--offline", help="On the service's machine: write into its database, without any key.")
    ] = False,
    db: Annotated[str | None, typer.Option("--db", help="With --offline: the database, as `s2a serve --db`.")] = None,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Make an API key; it is shown once."""
    terminal: Terminal = ctx.obj
    scopes: list[str] = ["read", "write"] if scope == "write" else [str(scope)]
    expires_at = parse_expiry(expires)
    if offline:
        from app.cli.offline import make_key

        made = make_key(db, team, scopes, name, expires_at)
    else:
        with connect(url, key) as client:
            made = client.create_key(team, scopes, name, expires_at)
    terminal.document(made)
    terminal.say(made["key"])
    terminal.note("shown this once; its holder sets S2A_API_KEY to it, and S2A_URL to the address of the service")


def revoke_key(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The part between s2a_ and the secret.")],
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Make a key useless."""
    terminal: Terminal = ctx.obj
    with connect(url, key) as client:
        client.revoke_key(key_id)
    terminal.document({"id": key_id, "revoked": True})
    terminal.say(f"{key_id} is revoked")


GROUPS: dict[str, tuple[Any, dict[str, Any]]] = {
    "datasets": (
        list_datasets,
        {"upload": upload_dataset, "add": add_dataset, "show": show_dataset, "remove": remove_dataset},
    ),
    "plans": (list_plans, {"ask": ask_plan, "show": show_plan}),
    "keys": (list_keys, {"create": create_key, "revoke": revoke_key}),
}


def group(lister: Any, commands: dict[str, Any]) -> typer.Typer:
    """The commands of a group; the group itself lists."""
    app = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")
    app.callback(invoke_without_command=True, help=lister.__doc__)(lister)
    app.command("list", help="The same as without a command.")(lister)
    for word, command in commands.items():
        app.command(word)(command)
    return app


def _list(ctx: typer.Context, limit: int, url: str | None, key: str | None, what: str, nothing: str) -> None:
    if ctx.invoked_subcommand is not None:
        return
    from app.cli import tables

    terminal: Terminal = ctx.obj
    with connect(url, key) as client:
        items = terminal.first(getattr(client, what)(), limit)
    terminal.document({"items": items})
    terminal.say(getattr(tables, what)(items) if items else nothing)


def _say(terminal: Terminal, what: str, document: dict[str, Any]) -> None:
    from app.cli import tables

    terminal.document(document)
    terminal.say(getattr(tables, what)([document] if what == "datasets" else document))


def _dataset(terminal: Terminal, dataset: dict[str, Any]) -> None:
    _say(terminal, "datasets", dataset)
    if dataset["status"] == "refused":
        reason = dataset.get("reason") or {}
        raise InvalidInput(str(reason.get("message", "the dataset was refused")), details=reason.get("details"))


def _plan(terminal: Terminal, plan: dict[str, Any]) -> None:
    from app.client.errors import failure_of

    _say(terminal, "plan", plan)
    reason = plan.get("reason") or {}
    if plan["status"] == "infeasible":
        raise failure_of(reason, str(reason.get("message")))
    if plan["status"] == "failed":
        raise InvalidInput(f"the plan failed: {reason.get('message')}", details=reason.get("details"))
