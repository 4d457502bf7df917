"""`s2a plan`: the best configuration inside a budget, explained; nothing is trained."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.cli import options
from app.cli.requests import require, run_request, settle_budget
from app.cli.terminal import Terminal
from s2a_core.requests import PLANNED_FIELDS, starting_weights


@options.takes(PLANNED_FIELDS, **options.WITHOUT_PLAN)
def plan(
    ctx: typer.Context,
    asked: options.Asked,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the plan for `s2a train --plan`.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw frontier and memory to FILE.png or FILE.html.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Run two real steps and an evaluation of the plan, and plan again on a miss."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Choose adapter, storage per site and micro-batch for MODEL inside a memory budget, and say why.

    --budget 80% is that share of the memory that is free now, and --budget auto is 80 % of it.
    """
    terminal: Terminal = ctx.obj
    require(asked, "model", "budget_bytes")
    asked = settle_budget(terminal, asked)
    asked["weights"] = starting_weights(asked["model"], asked.get("weights"))
    from app.cli.explain import explain_plan
    from app.cli.plot import check_plot_name, plot_plan
    from app.cli.profiles import profile_cache
    from app.cli.progress import follower
    from s2a_core.outputs.atomic import plain, write_text
    from s2a_core.phases import Clock
    from s2a_core.planner import Planner
    from s2a_core.planning.course import predicted_course

    if plot is not None:
        check_plot_name(plot)
    request = run_request(asked, profile_cache=profile_cache())
    with follower(terminal, request.budget_bytes or None) as follow:
        planner, clock = Planner(request, on_event=follow), Clock(follow)
        with clock.phase("profiling"):
            planner.measure()
        with clock.phase("planning"):
            made = planner.with_smallest(planner.plan())
        if verify:
            with clock.phase("verifying"):
                made = planner.verify(made).plan
    document = plain(made.to_json())
    if save is not None:
        write_text(save, json_format.dumps(document, indent=2) + "\n")
        terminal.note(escape(f"plan written to {save}"))
    if plot is not None:
        plot_plan(document, plot, predicted_course(planner.profile_of(made), made))
        terminal.note(escape(f"plot written to {plot}"))
    terminal.document(document)
    terminal.say(explain_plan(document))
