"""`s2a train`: fine-tune a model inside a budget and leave a directory with the result."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from app.cli import options
from app.cli.requests import as_config, read_config, require, run_request, settle_budget
from app.cli.terminal import LOADING, Terminal
from s2a_core.adapters.spec import FULL
from s2a_core.errors import BudgetExceeded, InvalidInput
from s2a_core.requests import FIELDS, spoken_names, starting_adapter, starting_weights
from s2a_core.sizes import format_bytes
from s2a_core.tasks import metrics_of
from s2a_core.tracking import require_tracker, tracked

OPTIONS = tuple(name for name in FIELDS if name != "num_classes")  # the data says how many there are
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Directory for everything the run makes; without it runs/MODEL-DATA-N."
    ),
]


@options.takes(OPTIONS, epochs="5, more of small data", weights="pretrained ones")
def train(
    ctx: typer.Context,
    asked: options.Asked,
    output: Output = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Use this plan, from `s2a plan --save`.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the last checkpoint in --output; `--resume DIR` alone says it all."),
    ] = False,
    track: Annotated[
        str | None,
        typer.Option("--track", metavar="NAME", help="Send the numbers to tensorboard, mlflow or wandb as well."),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Write the request as YAML for --config, and train nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Fine-tune MODEL on a dataset without ever using more memory than the budget.

    It starts from timm's pretrained weights, as its plan does, unless --weights says otherwise. Random
    weights (--weights none) are trained in full where no adapter is named: there is nothing to adapt.
    --budget 80% is that share of the memory that is free now, and --budget auto is 80 % of it.
    """
    terminal: Terminal = ctx.obj
    if resume and (directory := _resumed(asked, output)) is not None:
        output = directory
        asked = {
            **read_config(directory / options.REQUEST, OPTIONS),
            **{k: v for k, v in asked.items() if k != "model"},
        }
    require(asked, "model", "data")
    if track is not None:
        require_tracker(track)
    if "budget_bytes" not in asked and plan is None and not resume:
        raise InvalidInput("--budget is missing: say how much memory may be used, --budget 4GiB say, or give a --plan")
    made = _read_plan(plan) if plan is not None else None
    asked = settle_budget(terminal, asked)
    if made is not None:
        asked = {"budget_bytes": made.budget_bytes, "batch_size": made.batch_size, **asked}
    model = str(asked["model"])
    if (weights := starting_weights(model, asked.get("weights"))) is not None:
        asked["weights"] = weights
    if "adapter" not in asked and made is None:
        asked["adapter"] = starting_adapter(None, weights)
        if asked["adapter"] == FULL:
            terminal.note("--weights none: the network is random, so all of it is trained (--adapter full)")
    if print_config:
        terminal.document({spoken: asked.get(name) for name, spoken in zip(FIELDS, spoken_names(), strict=True)})
        terminal.say(escape(as_config(asked).rstrip()))
        return
    output = output or _unused(model, str(asked["data"]), is_resumed=resume)
    from app.cli.profiles import profile_cache
    from app.cli.progress import follower

    request = run_request(asked, output=output, plan=made, resume=resume, profile_cache=profile_cache())
    with terminal.busy(LOADING):
        from s2a_core import pipeline
        from s2a_core.outputs.atomic import plain, write_text

    with follower(terminal, request.budget_bytes or None) as follow, tracked(track, output, asked, follow) as tracking:

        def on_event(event: Any) -> None:
            if event["type"] == "plan":  # data and model are good: there is something to go on with
                write_text(output / options.REQUEST, as_config(asked))
            tracking(event)

        try:
            report, exceeded = plain(pipeline.run(request, on_event)), None
            tracking.finish(report)
        except BudgetExceeded as error:
            report, exceeded = plain(error.report), error
        except KeyboardInterrupt:
            if (output / options.REQUEST).is_file():
                terminal.note(escape(f"go on with: s2a train --resume {shlex.quote(str(output))}"))
            raise
    terminal.document(report)
    _summary(terminal, report, output)
    if exceeded is not None:
        raise exceeded


def _resumed(asked: Mapping[str, Any], output: Path | None) -> Path | None:
    """The directory of `--resume DIR`, which stands where MODEL would; None where a whole request is given."""
    if output is not None or "data" in asked:
        return None
    directory = Path(str(asked.get("model", "")))
    if "model" not in asked or not directory.is_dir():
        raise InvalidInput("--resume goes on with a directory that is there: s2a train --resume runs/MODEL-DATA-1")
    if not (directory / options.REQUEST).is_file():
        raise InvalidInput(
            f"{directory} holds no {options.REQUEST} of a run that began: say MODEL, --data and --output"
        )
    return directory


def _unused(model: str, data: str, is_resumed: bool) -> Path:
    """runs/MODEL-DATA-N with the first N that no run has taken. Raises InvalidInput where a run is to go on."""
    if is_resumed:
        raise InvalidInput("--resume goes on with a directory that is there: name it with --output")
    source = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(data.rstrip("/")).name.split(".")[0]).strip("-.") or "data"
    stem = f"{model.replace('/', '-').replace(':', '-')}-{source}"
    return next(path for n in itertools.count(1) if not (path := Path("runs") / f"{stem}-{n}").exists())


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


def _named(words: str) -> str:
    return f"{words:<19}  "


def _summary(terminal: Terminal, report: Mapping[str, Any], output: Path) -> None:
    """The three things a person wants to know: how good, how large, where."""
    share = report.get("total_params")
    measured, budget = int(report.get("measured_peak_bytes") or 0), int(report.get("budget_bytes") or 0)
    within = bool(report.get("within_budget"))
    trained = int(report.get("trainable_params") or 0)
    terminal.say(
        "",
        *(f"{_named('validation ' + m.words)}[number]{m.text(value, 2)}[/]" for m, value in metrics_of(report)),
        f"peak memory          [{'good' if within else 'bad'}]{format_bytes(measured)}[/] of {format_bytes(budget)}"
        f"  (predicted {format_bytes(int(report.get('predicted_peak_bytes') or 0))})",
        f"trained parameters   {trained:,}" + (f"  ({100 * trained / share:.2f} % of the model)" if share else ""),
        escape(f"report               {output / 'report.html'}"),
        escape(f"use it               s2a predict {shlex.quote(str(output))} IMAGE..."),
    )
