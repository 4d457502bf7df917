"""`s2a train`: fine-tune a model inside a budget and leave a directory with the result."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.cli import options
from app.cli.terminal import Terminal
from s2a_core.errors import InvalidInput
from s2a_core.sizes import format_bytes, parse_bytes


def train(
    ctx: typer.Context,
    model: options.Model,
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="Images, as for `s2a plan`.")],
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="SIZE", help="Memory the job may use: 4GiB, 4GB or bytes; left out, the --plan's."
        ),
    ] = None,
    output: options.Output = None,
    weights: options.Weights = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Use this plan, from `s2a plan --save`.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Passes over the training images; 5, more of small data.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, metavar="N", help="Images per step; 64, or the --plan's.")
    ] = None,
    adapter: options.Adapter = "auto",
    objective: options.ObjectiveOption = "accuracy",
    image_size: options.ImageSize = None,
    precision: options.PrecisionOption = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    lr: Annotated[
        float | None, typer.Option("--lr", min=0.0, help="Learning rate, instead of the adapter's own.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", min=1, help="Stop after so many epochs without a better accuracy.")
    ] = None,
    ema: Annotated[
        float | None, typer.Option("--ema", min=0.0, max=0.99999, help="Decay of an average of the weights to keep.")
    ] = None,
    augment: Annotated[
        Literal["mild", "timm", "none"],
        typer.Option("--augment", help="mild crops and mirrors; timm adds RandAugment and erasing; none."),
    ] = "mild",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --output, with its plan.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Fine-tune MODEL on a dataset without ever using more memory than the budget.

    It starts from timm's pretrained weights, unless --weights or a --plan made without them says otherwise. Random
    weights (--weights none) are trained in full where no adapter is named: there is nothing to adapt.
    """
    terminal: Terminal = ctx.obj
    if budget is None and plan is None and not resume:
        raise InvalidInput("--budget is missing: say how much memory may be used, --budget 4GiB say, or give a --plan")
    budget_bytes = parse_bytes(budget) if budget is not None else None
    made = _read_plan(plan) if plan is not None else None
    if made is not None:
        budget_bytes, batch_size = budget_bytes or made.budget_bytes, batch_size or made.batch_size
    from app.cli.profiles import profile_cache
    from app.cli.progress import follower
    from app.cli.requests import run_request
    from s2a_core import pipeline
    from s2a_core.outputs.atomic import plain

    output = output or _unused(model, data, is_resumed=resume)
    request = run_request(
        profile_cache=profile_cache(),
        model=model,
        data=data,
        budget_bytes=budget_bytes,
        output=output,
        weights=_start(model, weights, has_plan=plan is not None),
        plan=made,
        epochs=epochs or _epochs(terminal, data, batch_size),
        batch_size=batch_size,
        adapter=_adapter(terminal, weights, adapter, has_plan=plan is not None),
        objective=objective,
        image_size=image_size,
        precision=precision,
        device=device,
        seed=seed,
        lr=lr,
        patience=patience,
        ema_decay=ema,
        augmentation=augment,
        resume=resume,
    )
    with follower(terminal, budget_bytes) as follow:
        report = plain(pipeline.run(request, follow))
    terminal.document(report)
    _summary(terminal, report, output)


def _unused(model: str, data: str, is_resumed: bool) -> Path:
    """runs/MODEL-DATA-N with the first N that no run has taken. Raises InvalidInput where a run is to go on."""
    if is_resumed:
        raise InvalidInput("--resume goes on with a directory that is there: name it with --output")
    source = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(data.rstrip("/")).name.split(".")[0]).strip("-.") or "data"
    stem = f"{model.replace('/', '-').replace(':', '-')}-{source}"
    return next(path for n in itertools.count(1) if not (path := Path("runs") / f"{stem}-{n}").exists())


def _start(model: str, weights: str | None, has_plan: bool) -> str | None:
    """Where training starts from: fine-tuning means pretrained weights, where the user says nothing."""
    return "pretrained" if weights is None and not has_plan and model != "s2a_tiny" else weights


def _adapter(terminal: Terminal, weights: str | None, adapter: str, has_plan: bool) -> str:
    """What is trained: a random network in full, where the user leaves the choice to s2a."""
    if weights != "none" or adapter != "auto" or has_plan:
        return adapter
    terminal.note("--weights none: the network is random, so all of it is trained (--adapter full)")
    return "full"


def _epochs(terminal: Terminal, data: str, batch_size: int | None) -> int:
    """As many epochs as the size of the dataset asks for. Raises BadDataset."""
    from s2a_core.datasets import num_training_images
    from s2a_core.requests import BATCH_SIZE
    from s2a_core.train.recipe import enough_epochs

    num_train = num_training_images(data)
    epochs = enough_epochs(num_train, batch_size or BATCH_SIZE)
    terminal.note(f"{epochs} epochs of {num_train:,} training images")
    return epochs


def _read_plan(path: Path) -> Any:
    """The Plan of a file. Raises InvalidInput where it is not one."""
    import json as json_format

    from s2a_core.errors import S2AError
    from s2a_core.planning import Plan

    try:
        return Plan.from_json(json_format.loads(path.read_text(encoding="utf-8")))
    except S2AError:
        raise
    except FileNotFoundError as error:
        raise InvalidInput(f"{path}: no such plan file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is not a plan of `s2a plan --save` ({error})") from error


def _summary(terminal: Terminal, report: Mapping[str, Any], output: Path) -> None:
    """The three things a person wants to know: how good, how large, where."""
    accuracy, share = report.get("accuracy"), report.get("total_params")
    measured, budget = int(report.get("measured_peak_bytes") or 0), int(report.get("budget_bytes") or 0)
    within = bool(report.get("within_budget"))
    trained = int(report.get("trainable_params") or 0)
    terminal.say(
        "",
        f"validation accuracy  [number]{100 * float(accuracy):.2f} %[/]" if accuracy is not None else "",
        f"peak memory          [{'good' if within else 'bad'}]{format_bytes(measured)}[/] of {format_bytes(budget)}"
        f"  (predicted {format_bytes(int(report.get('predicted_peak_bytes') or 0))})",
        f"trained parameters   {trained:,}" + (f"  ({100 * trained / share:.2f} % of the model)" if share else ""),
        f"report               {output / 'report.html'}",
        f"use it               s2a predict {output} IMAGE...",
    )
