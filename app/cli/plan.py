"""`s2a plan`: the best configuration inside a budget, explained; nothing is trained."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.terminal import Terminal

if TYPE_CHECKING:
    from s2a_core.requests import RunRequest


def plan(
    ctx: typer.Context,
    model: options.Model,
    budget: options.Budget,
    data: options.DataSource = None,
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", min=2, help="Classes, where no --data is given.")
    ] = None,
    batch_size: options.BatchSize = 64,
    adapter: options.Adapter = "auto",
    objective: options.ObjectiveOption = "accuracy",
    weights: options.Weights = None,
    image_size: options.ImageSize = None,
    precision: options.PrecisionOption = None,
    device: options.Device = None,
    seed: options.Seed = 0,
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
    from s2a_core.planning.trace import predicted_course
    from s2a_core.profiling import Profile
    from s2a_core.sizes import parse_bytes

    if plot is not None:
        check_plot_name(plot)
    budget_bytes = parse_bytes(budget)
    wanted = {
        "adapter": adapter,
        "weights": weights,
        "num_classes": num_classes,
        "image_size": image_size,
        "precision": precision,
        "device": device,
        "data": data,
    }

    def request_for(candidate: Candidate) -> RunRequest:
        from app.cli.requests import run_request

        return run_request(
            model=model,
            budget=budget,
            batch_size=batch_size,
            objective=objective,
            seed=seed,
            profile_cache=profile_cache(),
            **{**wanted, "adapter": candidate.adapter, "precision": candidate.precision},
        )

    profiles: dict[Candidate, Profile] = {}

    def profile_of(candidate: Candidate) -> Profile:
        known = cached_profile(model, **{**wanted, "adapter": candidate.adapter, "precision": candidate.precision})
        if known is None:
            from s2a_core import pipeline

            known = pipeline.make_profile(request_for(candidate))
        profiles[candidate] = known
        return known

    made, source = plan_over(
        candidates(adapter, precision), profile_of, budget_bytes, batch_size, objective,
        lambda found: int(known_margin(found.device) * budget_bytes),
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
