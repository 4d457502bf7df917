"""`python scripts/task_metrics.py [TASK...]`: tasks in a third of full fine-tuning's memory against full fine-tuning.

Three seeds each, s2a_tiny on scikit-learn's digits, everything else as the product has it; half an hour on a CPU.
Writes the rows of those tasks into the table of docs/tasks.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from s2a_core import pipeline  # noqa: E402
from s2a_core.requests import RunRequest  # noqa: E402
from s2a_core.sizes import format_bytes  # noqa: E402
from s2a_core.tasks import TASKS  # noqa: E402

PAGE, BEGIN, END = ROOT / "docs" / "tasks.md", "<!-- task_metrics -->", "<!-- /task_metrics -->"
NUM_IMAGES, SIDE, BATCH, SEEDS = 320, 32, 32, (0, 1, 2)
ROOM = 2**30  # of full fine-tuning, which nothing limits
LEVELS = (60, 160)  # of grey: paper, faint ink, ink


def write_data(root: Path) -> dict[str, Path]:
    """Digits with labels (odd, above four), a number (their ink in percent) and masks (three levels of ink)."""
    digits = load_digits()
    rows = []
    for folder in ("tables/images", "masks/images", "masks/masks"):
        (root / folder).mkdir(parents=True)
    for number, (pixels, digit) in enumerate(zip(digits.images[:NUM_IMAGES], digits.target, strict=False)):
        image = Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        values, name = np.asarray(image), f"{number:03d}.png"
        for folder in ("tables", "masks"):
            image.convert("RGB").save(root / folder / "images" / name)
        Image.fromarray(np.digitize(values, LEVELS).astype(np.uint8)).save(root / "masks/masks" / name)
        rows.append((f"images/{name}", digit % 2, int(digit > 4), round(float(values.mean()) / 2.55, 3)))
    (root / "masks/classes.txt").write_text("paper\nfaint\nink\n")
    for task, columns in (("multilabel", {"odd": 1, "large": 2}), ("regression", {"ink": 3})):
        with (root / "tables" / f"{task}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["path", *columns])
            table.writerows([row[0], *(row[i] for i in columns.values())] for row in rows)
    tables = {task: root / "tables" / f"{task}.csv" for task in ("multilabel", "regression")}
    return {**tables, "segmentation": root / "masks"}


@dataclass(frozen=True)
class Trained:
    """A run: its main metric, measured peak, what full fine-tuning takes in one batch, and epochs."""

    metric: float
    peak_bytes: int
    full_bytes: int
    epochs: int


def trained(task: str, data: Path, adapter: str, budget_bytes: int, seed: int, work: Path) -> Trained:
    """One run. Its epochs are the product's own for so many images, whatever is trained."""
    output = work / f"{task}-{adapter}-{seed}"
    request = RunRequest(
        model="s2a_tiny", data=str(data), budget_bytes=budget_bytes, adapter=adapter, batch_size=BATCH, seed=seed,
        device="cpu", output=output, profile_cache=work / "profiles",
    )  # fmt: skip
    report = pipeline.run(request)
    plan = json.loads((output / "plan.json").read_text())
    (full,) = [row["peak_bytes"] for row in plan["baselines"] if row["name"] == "full"]
    peak, metrics = report["measured_peak_bytes"], report["metrics"]
    sys.stderr.write(f"{output.name}: {plan['adapter']}, {metrics}, {format_bytes(peak)}\n")
    return Trained(metrics[TASKS[task].main.name], peak, full, len(report["history"]))


def row_of(task: str, data: Path, work: Path) -> str:
    """A line of the table."""
    whole = [trained(task, data, "full", ROOM, seed, work) for seed in SEEDS]
    budget = min(run.full_bytes for run in whole) // 3
    planned = [trained(task, data, "auto", budget, seed, work) for seed in SEEDS]
    peak = max(run.peak_bytes for run in planned)
    epochs = "/".join(sorted({str(run.epochs) for run in (*whole, *planned)}))
    cells = (
        f"`{task}`",
        TASKS[task].main.words,
        epochs,
        _words(whole),
        _words(planned),
        *map(format_bytes, (budget, peak)),
    )
    return f"| {' | '.join(cells)} |"


def _words(runs: Sequence[Trained]) -> str:
    values = [100 * run.metric for run in runs]
    return f"{fmean(values):.1f} ± {stdev(values):.1f}"


def table(rows: Sequence[str]) -> str:
    """The rows under their heading."""
    return "\n".join([
        f"`python scripts/task_metrics.py`: s2a_tiny on {NUM_IMAGES} of scikit-learn's digits, batches of {BATCH}, "
        f"{len(SEEDS)} seeds (mean ± standard deviation, of 100):",
        "",
        "| task | metric | epochs | full fine-tuning | `auto` in a third of its memory | budget | largest peak |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ])  # fmt: skip


def main() -> None:
    """The runs of each task, then its row; those of other tasks stay."""
    parser = argparse.ArgumentParser(prog="python scripts/task_metrics.py", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="default: all of the table")
    asked = parser.parse_args().tasks
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    former, _, after = rest.partition(END)
    rows = {line.split("`")[1]: line for line in former.splitlines() if line.startswith("| `")}
    with tempfile.TemporaryDirectory() as work:
        data = write_data(Path(work))
        for task in asked or data:
            rows[task] = row_of(task, data[task], Path(work))
            shown = table([rows[name] for name in data if name in rows])
            PAGE.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
