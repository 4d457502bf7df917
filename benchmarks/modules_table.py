"""The tables of `benchmarks.modules`: a row a model, on the CPU with cosines, on the device without silicon without."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable

import peft
import torch
import torchvision
import transformers

from s2a_core.sizes import MIB

BATCH, BATCH_ON_DOUBLE = 8, 64
LEAST_EXACT, LEAST_AT_8_BITS, MOST_OFF = 1 - 1e-6, 0.999, 0.05


@dataclasses.dataclass(frozen=True)
class Row:
    """One model. Cosines are of the trainable gradient with stock's; predicted before the plan ran, promised after.
    context_bytes: of a CUDA device, with kernels' code; held_bytes: the most of the whole process, by the
    driver's count; rounds: plans that verification tried."""

    name: str
    library: str
    task: str
    adapter: str
    sites: int = 0
    cosine_exact: float = 0.0
    cosine_8bit: float = 0.0
    cosine_rebuilt: float | None = None
    budget_bytes: int = 0
    predicted_bytes: int = 0
    measured_bytes: int = 0
    promised_bytes: int = 0
    context_bytes: int = 0
    held_bytes: int = 0
    rounds: int = 1
    failure: str = ""

    @property
    def off(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_bytes / self.measured_bytes - 1 if self.measured_bytes else 0.0

    @property
    def promise_off(self) -> float:
        """Promised over measured, less one."""
        return self.promised_bytes / self.measured_bytes - 1 if self.measured_bytes else 0.0

    @property
    def misses(self) -> list[str]:
        """What is not as it should be, in words."""
        if self.failure:
            return [f"failed: {self.failure}"]
        on_cuda = self.context_bytes > 0
        return [
            words for is_missed, words in (
                (not on_cuda and self.cosine_exact < LEAST_EXACT, "exact storage is not stock's gradient"),
                (not on_cuda and self.cosine_8bit < LEAST_AT_8_BITS, "8-bit codes turn the gradient"),
                (self.measured_bytes > self.budget_bytes, "ABOVE its budget"),
                (max(self.measured_bytes, self.held_bytes) > self.promised_bytes, "above what verification promised"),
                (self.off < -MOST_OFF, "predicted too little before verification"),
                (self.off > MOST_OFF, "predicted too much before verification"),
            ) if is_missed
        ]  # fmt: skip

    @property
    def is_good(self) -> bool:
        """Ran inside its budget as predicted, and its gradients are stock's."""
        return not self.misses


def table(rows: Iterable[Row], is_double: bool = False) -> str:
    """The rows as Markdown, with the errors of the predictions in one line above."""
    rows = list(rows)
    lines = [
        _heading_on_double() if is_double else _heading(),
        "",
        f"{sum(row.is_good for row in rows)} of {len(rows)} models are good: "
        + ("" if is_double else f"cosine at exact storage at least 1 - 1e-6 and in codes at least {LEAST_AT_8_BITS}, ")
        + f"the peak inside the budget, within {100 * MOST_OFF:.0f} % of the prediction and never above what "
        "verification promised.",
    ]
    for words, errors in (
        ("Predicted", [abs(row.off) for row in rows if not row.failure]),
        ("Promised after verification", [abs(row.promise_off) for row in rows if not row.failure and is_double]),
    ):
        if errors:
            median = statistics.median(errors)
            lines.append(f"{words} against measured peak: median {median:.2%}, worst {max(errors):.2%}.")
    columns = COLUMNS_ON_DOUBLE if is_double else COLUMNS
    lines += ["", f"| {' | '.join(columns)} |", "|---|---|---|---|" + "--:|" * (len(columns) - 5) + "---|"]
    for row in rows:
        start = f"| {row.name} | {row.library} | {row.task} | {row.adapter} |"
        result = "; ".join(row.misses).replace("|", "/") or "good"
        cells = [""] * (len(columns) - 5) if row.failure else (_on_double(row) if is_double else _figures(row))
        lines.append(f"{start} {' | '.join(cells)} | {result} |")
    return "\n".join(lines) + "\n"


COLUMNS = (
    "model", "library", "task", "adapter", "sites", "1 - cosine, exact", "cosine, 8 bit", "cosine, rebuilt from 8 bit",
    "budget", "predicted", "measured", "off", "result",
)  # fmt: skip
COLUMNS_ON_DOUBLE = (
    "model", "library", "task", "adapter", "sites", "context", "budget", "predicted", "promised", "measured", "off",
    "plans tried", "result",
)  # fmt: skip


def _heading() -> str:
    return (
        f"Made by `python -m benchmarks.modules`: batch {BATCH}, random weights, CPU, fp32; MiB of tensors alive. "
        f"{_versions()}"
    )


def _heading_on_double() -> str:
    return (
        f"Made by `python -m benchmarks.modules --double`: batch {BATCH_ON_DOUBLE}, fp32; MiB of all that a process "
        "holds of the device, its context and kernels' code included. Nothing here ran on a GPU: the device is without "
        "silicon (tests/fakegpu), where bytes are true and values are zeros, so gradients are not compared, and DETR's "
        "and YOLOS's loss takes torchvision's `generalized_box_iou`, which does not look at the values of boxes. "
        f"{_versions()}"
    )


def _versions() -> str:
    versions = {"torchvision": torchvision, "transformers": transformers, "peft": peft}
    return ", ".join([f"torch {torch.__version__}", *(f"{n} {m.__version__}" for n, m in versions.items())]) + "."


def _figures(row: Row) -> list[str]:
    rebuilt = "-" if row.cosine_rebuilt is None else f"{row.cosine_rebuilt:.5f}"
    cosines = [f"{max(1 - row.cosine_exact, 0):.1e}", f"{row.cosine_8bit:.5f}", rebuilt]
    sizes = [f"{size / MIB:.2f}" for size in (row.budget_bytes, row.predicted_bytes, row.measured_bytes)]
    return [str(row.sites), *cosines, *sizes, f"{100 * row.off:+.2f} %"]


def _on_double(row: Row) -> list[str]:
    parts = (row.context_bytes, row.budget_bytes, row.predicted_bytes, row.promised_bytes, row.measured_bytes)
    return [str(row.sites), *(f"{size / MIB:,.0f}" for size in parts), f"{100 * row.off:+.2f} %", str(row.rounds)]
