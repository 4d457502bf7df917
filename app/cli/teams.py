"""`s2a teams` and `s2a whoami`: weights and quotas in the queue, what each team uses, and whose key this is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.connection import Key, Url, connect
from app.cli.terminal import Terminal
from s2a_core.amounts import parse_bytes
from s2a_core.errors import InvalidInput
from s2a_core.fields import nearest
from s2a_core.sizes import GIB_HOUR

if TYPE_CHECKING:
    from app.client import Client

TeamName = Annotated[str, typer.Argument(metavar="TEAM", help="Its name.")]
Weight = Annotated[
    float | None, typer.Option("--weight", metavar="X", help="Its share beside other teams', which have 1.", min=1e-6)
]
MaxJobs = Annotated[
    str | None, typer.Option("--max-jobs", metavar="N", help="Jobs that run at once; `none` for no limit.")
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", metavar="SIZE", help="Memory held at once, 64GiB; `none` for no limit.")
]
MaxHours = Annotated[
    str | None,
    typer.Option("--max-gib-hours", metavar="X", help="GiB times hours within 24 hours; `none` for no limit."),
]


def list_teams(ctx: typer.Context, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Teams: what they use of their quotas; your own, or all with an admin's key."""
    if ctx.invoked_subcommand is not None:
        return
    with connect(url, key) as client:
        teams = list(client.teams())
    _say(ctx.obj, {"items": teams}, teams)


def create_team(
    ctx: typer.Context,
    team: TeamName,
    weight: Weight = None,
    max_jobs: MaxJobs = None,
    max_memory: MaxMemory = None,
    max_gib_hours: MaxHours = None,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Make a team; needs an admin's key."""
    quotas = quotas_of(weight, max_jobs, max_memory, max_gib_hours)
    with connect(url, key) as client:
        made = client.create_team(team, **quotas)
    _say(ctx.obj, made, [made])


def change_team(
    ctx: typer.Context,
    team: TeamName,
    weight: Weight = None,
    max_jobs: MaxJobs = None,
    max_memory: MaxMemory = None,
    max_gib_hours: MaxHours = None,
    url: Url = None,
    key: Key = None,
    json: options.Json = False,
) -> None:
    """Set a team's weight and quotas; what is left out stays. Needs an admin's key."""
    quotas = quotas_of(weight, max_jobs, max_memory, max_gib_hours)
    if not quotas:
        raise InvalidInput("say what to change: --weight, --max-jobs, --max-memory or --max-gib-hours")
    with connect(url, key) as client:
        changed = client.change_team(_named(client, team)["id"], **quotas)
    _say(ctx.obj, changed, [changed])


def show_team(ctx: typer.Context, team: TeamName, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Show one team."""
    with connect(url, key) as client:
        document = _named(client, team)
    _say(ctx.obj, document, [document])


def whoami(ctx: typer.Context, url: Url = None, key: Key = None, json: options.Json = False) -> None:
    """Say whose key this is: team, what it may do, until when."""
    from app.cli import tables

    terminal: Terminal = ctx.obj
    with connect(url, key) as client:
        own = client.me()
    terminal.document(own)
    terminal.say(tables.keys([own]))


GROUP: tuple[Any, dict[str, Any]] = (list_teams, {"show": show_team, "create": create_team, "change": change_team})


def quotas_of(
    weight: float | None, max_jobs: str | None, max_memory: str | None, max_gib_hours: str | None
) -> dict[str, Any]:
    """What was said, by the names of the API. Raises InvalidInput for what is neither an amount nor `none`."""
    said: dict[str, Any] = {} if weight is None else {"weight": weight}
    for name, option, text, read in (
        ("quota_jobs", "--max-jobs", max_jobs, int),
        ("quota_bytes", "--max-memory", max_memory, parse_bytes),
        ("quota_byte_seconds_per_day", "--max-gib-hours", max_gib_hours, lambda words: round(float(words) * GIB_HOUR)),
    ):
        if text is None:
            continue
        try:
            said[name] = None if text.strip().lower() == "none" else read(text)
        except (ValueError, OverflowError) as error:
            raise InvalidInput(f"{option} takes an amount or `none`, not {text!r}") from error
    return said


def _named(client: Client, name: str) -> dict[str, Any]:
    """The team of that name. Raises InvalidInput, with the nearest name, where this key sees none."""
    teams = {team["name"]: team for team in client.teams()}
    if name not in teams:
        close = nearest(name, teams, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InvalidInput(f"there is no team {name!r} that this key sees{hint}")
    return teams[name]


def _say(terminal: Terminal, document: dict[str, Any], teams: list[dict[str, Any]]) -> None:
    from app.cli import tables

    terminal.document(document)
    terminal.say(tables.teams(teams))
