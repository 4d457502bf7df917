"""`python scripts/task_metrics.py`: tasks inside a third of full fine-tuning's memory against full fine-tuning.

Three seeds each, s2a_tiny on scikit-learn's digits; minutes on a CPU. Writes the table of docs/tasks.md.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Sequence
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
NUM_IMAGES, SIDE, EPOCHS, BATCH, SEEDS = 320, 32, 10, 32, (0, 1, 2)
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


def trained(data: Path, adapter: str, budget_bytes: int, seed: int, work: Path) -> tuple[dict[str, float], int, int]:
    """(metrics, measured peak, peak of full fine-tuning in one batch) of one run."""
    output = work / f"{data.stem}-{adapter}-{seed}"
    request = RunRequest(
        model="s2a_tiny", data=str(data), budget_bytes=budget_bytes, adapter=adapter, batch_size=BATCH, epochs=EPOCHS,
        seed=seed, device="cpu", output=output, profile_cache=work / "profiles",
    )  # fmt: skip
    report = pipeline.run(request)
    plan = json.loads((output / "plan.json").read_text())
    (full,) = [row["peak_bytes"] for row in plan["baselines"] if row["name"] == "full"]
    sys.stderr.write(f"{output.name}: {report['metrics']}, {format_bytes(report['measured_peak_bytes'])}\n")
    return report["metrics"], report["measured_peak_bytes"], full


def row_of(name: str, data: Path, work: Path) -> str:
    """A line of the table."""
    metric = TASKS[name].main
    whole = [trained(data, "full", ROOM, seed, work) for seed in SEEDS]
    budget = min(full for _, _, full in whole) // 3
    planned = [trained(data, "auto", budget, seed, work) for seed in SEEDS]

    def words(runs: Sequence[tuple[dict[str, float], int, int]]) -> str:
        values = [100 * metrics[metric.name] for metrics, _, _ in runs]
        return f"{fmean(values):.1f} ± {stdev(values):.1f}"

    peak = max(measured for _, measured, _ in planned)
    sizes = f"{format_bytes(budget)} | {format_bytes(peak)}"
    return f"| `{name}` | {metric.words} | {words(whole)} | {words(planned)} | {sizes} |"


def main() -> None:
    """Every run, then the table."""
    with tempfile.TemporaryDirectory() as work:
        data = write_data(Path(work))
        rows = [row_of(name, source, Path(work)) for name, source in data.items()]
    table = [
        f"`python scripts/task_metrics.py`: s2a_tiny on {NUM_IMAGES} of scikit-learn's digits, {EPOCHS} epochs of "
        f"batches of {BATCH}, {len(SEEDS)} seeds (mean ± standard deviation, of 100):",
        "",
        "| task | metric | full fine-tuning | `auto` in a third of its memory | budget | largest measured peak |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + "\n".join([BEGIN, *table, END]) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
