"""`s2a plan`: the best configuration inside a budget, explained; nothing is trained."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from app.cli import options
from app.cli.terminal import Terminal


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
    json: options.Json = False,
) -> None:
    """Choose adapter, storage per site and micro-batch for MODEL inside a memory budget, and say why."""
    terminal: Terminal = ctx.obj
    from app.cli.explain import explain_plan
    from app.cli.plot import check_plot_name, plot_plan
    from app.cli.profiles import cached_profile, known_margin, profile_cache
    from s2a_core.outputs.atomic import plain, write_text
    from s2a_core.planning import plan as make_plan
    from s2a_core.sizes import parse_bytes

    if plot is not None:
        check_plot_name(plot)
    budget_bytes = parse_bytes(budget)
    wanted = {
        "adapter": adapter,
        "weights": None if weights == "none" else weights,
        "num_classes": num_classes,
        "image_size": image_size,
        "precision": precision,
        "device": device,
        "data": data,
    }
    known = cached_profile(model, **wanted)
    if known is not None:
        margin_bytes = int(known_margin(known.device) * budget_bytes)
        made = make_plan(known, budget_bytes, batch_size, objective, margin_bytes)
    else:
        from app.cli.requests import run_request
        from s2a_core import pipeline

        request = run_request(
            model=model,
            budget=budget,
            batch_size=batch_size,
            objective=objective,
            seed=seed,
            profile_cache=profile_cache(),
            **wanted,
        )
        made = pipeline.make_plan(request)
    document = plain(made.to_json())
    if save is not None:
        write_text(save, json_format.dumps(document, indent=2) + "\n")
        terminal.note(f"plan written to {save}")
    if plot is not None:
        plot_plan(document, plot)
        terminal.note(f"plot written to {plot}")
    terminal.document(document)
    terminal.say(explain_plan(document))
