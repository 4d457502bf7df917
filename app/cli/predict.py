"""`s2a predict`: what images show, by a finished run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from app.cli import options
from app.cli.tables import boxed
from app.cli.terminal import LOADING, Terminal
from s2a_core.requests import FIELDS

if TYPE_CHECKING:
    from s2a_core.inference import Prediction
    from s2a_core.tasks.task import Answers

NUMBERS = ("probability",)  # columns of the table that are set to the right


def predict(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --output of `s2a train` or `s2a download`.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or directories of them.")],
    top: Annotated[int, typer.Option("--top", min=1, help="Classes per image.")] = 3,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.")] = 32,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Directory for the masks of segmentation and their CSV; DIR/predictions if not said.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FILE", help="The base weights, if they have moved.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    output_format: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="How to write the answer.")
    ] = "table",
    json: options.Json = False,
) -> None:
    """Say what the images show, with probabilities. Exit code 2 if a file is no image."""
    terminal: Terminal = ctx.obj
    FIELDS["device"].check("device", device)
    with terminal.busy(LOADING):
        from app.cli.progress import follower
        from s2a_core.errors import InvalidInput
        from s2a_core.inference import find_images, load_run
        from s2a_core.inference import predict as predict_images
        from s2a_core.inference.mask_files import MaskFiles
        from s2a_core.outputs.atomic import write_text

    with follower(terminal, None) as follow:
        follow({"type": "phase", "name": "loading the model"})
        paths = find_images(images)
        run = load_run(directory, weights, device)
        follow({"type": "phase", "name": "predicting"})
        predictions = []
        masks = MaskFiles(output or directory / "predictions", paths, len(run.classes))
        for prediction in predict_images(run, paths, top, batch_size):
            predictions.append(masks.written(prediction))
            follow({"type": "progress", "unit": "image", "done": len(predictions), "total": len(paths)})
    answers = run.outputs.task.answers
    table = _csv(predictions, answers, answers.columns(run.outputs, top))
    if masks.num:
        write_text(masks.directory / "predictions.csv", table)
        terminal.note(f"{masks.num} mask(s) and predictions.csv in {escape(str(masks.directory))}")
    document = {
        "model": run.report["model"],
        "classes": list(run.classes),
        "predictions": [_row(p, answers) for p in predictions],
    }
    broken = [f"{p.path}: {p.error}" for p in predictions if p.error]
    if broken and len(broken) == len(predictions):
        raise InvalidInput("; ".join(broken[:10]), details={"problems": broken})
    if output_format == "json" and not terminal.is_json:
        terminal = Terminal(True)
    terminal.document(document)
    if not terminal.is_json:
        if output_format == "csv":
            terminal.text(table)
        else:
            terminal.say(_table(predictions, answers))
    if broken:
        terminal.note(*(f"[warn]not read[/] {escape(line)}" for line in broken))
        raise typer.Exit(InvalidInput.exit_code)


def _row(prediction: Prediction, answers: Answers) -> dict[str, Any]:
    if prediction.error:
        return {"path": prediction.path, "error": prediction.error}
    return {"path": prediction.path, **answers.row(prediction)}


def _csv(predictions: Sequence[Prediction], answers: Answers, columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", *columns, "error"])
    for p in predictions:
        cells = [""] * len(columns) if p.error else answers.cells(p)
        writer.writerow([p.path, *cells, p.error or ""])
    return text.getvalue()


def _table(predictions: Sequence[Prediction], answers: Answers) -> Table:
    table = boxed("image", *answers.headings, right=NUMBERS)
    for p in predictions:
        if p.error:
            words = ["[bad]not read[/]", *[""] * (len(answers.headings) - 2), escape(p.error)]
        else:
            first, *others = map(escape, answers.words(p))
            words = [f"[name]{first}[/]", *others]
        table.add_row(escape(p.path), *words)
    return table
