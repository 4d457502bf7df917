"""`s2a plan`: the best configuration inside a budget, explained; nothing is trained."""

from __future__ import annotations

import json as json_format
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import typer

from app.cli import options
from app.cli.requests import require, run_request
from app.cli.terminal import Terminal
from s2a_core.requests import BATCH_SIZE, PLANNED_FIELDS, RunRequest


@options.takes(PLANNED_FIELDS, weights="random ones: bytes do not depend on them")
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
    """Choose adapter, storage per site and micro-batch for MODEL inside a memory budget, and say why."""
    terminal: Terminal = ctx.obj
    from app.cli.explain import explain_plan
    from app.cli.plot import check_plot_name, plot_plan
    from app.cli.profiles import cached_profile, known_margin, profile_cache
    from s2a_core.outputs.atomic import plain, write_text
    from s2a_core.planning.choice import Candidate, candidates, plan_over
    from s2a_core.planning.search import Objective
    from s2a_core.planning.trace import predicted_course
    from s2a_core.profiling import Profile

    if plot is not None:
        check_plot_name(plot)
    require(asked, "model", "budget_bytes")
    request = run_request(asked, profile_cache=profile_cache())

    def request_for(candidate: Candidate) -> RunRequest:
        return replace(request, adapter=candidate.adapter, precision=candidate.precision)

    profiles: dict[Candidate, Profile] = {}

    def profile_of(candidate: Candidate) -> Profile:
        known = cached_profile(request_for(candidate))
        if known is None:
            from s2a_core import pipeline

            known = pipeline.make_profile(request_for(candidate))
        profiles[candidate] = known
        return known

    made, source = plan_over(
        candidates(request.adapter, request.precision), profile_of, request.budget_bytes,
        request.batch_size or BATCH_SIZE, cast(Objective, request.objective),
        lambda found: int(known_margin(found.device) * request.budget_bytes),
    )  # fmt: skip
    if verify:
        from s2a_core import pipeline

        made = pipeline.verified_plan(request_for(source), made)
    document = plain(made.to_json())
    if save is not None:
        write_text(save, json_format.dumps(document, indent=2) + "\n")
        terminal.note(f"plan written to {save}")
    if plot is not None:
        plot_plan(document, plot, predicted_course(profiles[source], made))
        terminal.note(f"plot written to {plot}")
    terminal.document(document)
    terminal.say(explain_plan(document))
