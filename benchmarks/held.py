"""`python -m benchmarks.held`: bytes held for backward beside full fine-tuning's, in fp32 and under bf16 autocast.

Bias tuning with codes only (2 and 4 bit), with regions and with blocks rebuilt from 4-bit x̂, each as a slope per sample
between two batches by a meter that knows nothing of `compress`; full fine-tuning by stock PyTorch in the same run.
"error": relative L2 of the bias gradients to stock PyTorch's in the same precision. "ledger": how far the session's own
account of what it holds lies from the meter's, at the larger batch.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
from collections.abc import Iterator

import timm
import torch
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.contestants import Runner, bias, full
from benchmarks.ours import policy
from benchmarks.suite import show_every_block
from s2a_core.compression import compress
from s2a_core.meter import held_bytes
from s2a_core.storage import StoragePolicy

# Model -> (way, precision) -> how many times fewer bytes than full fine-tuning it must hold.
TARGETS: dict[str, dict[tuple[str, str], float]] = {
    "vit_base_patch16_224": {
        ("regions 4 bit", "bf16"): 17, ("regions 4 bit", "fp32"): 31,
        ("codes 2 bit", "bf16"): 12, ("codes 2 bit", "fp32"): 21,
    },
    "resnet50": {("codes 4 bit", "bf16"): 30, ("codes 4 bit", "fp32"): 60},
    "mobilenetv2_100": {("codes 4 bit", "bf16"): 48, ("codes 4 bit", "fp32"): 95},
    "efficientnet_b0": {("blocks 4 bit", "bf16"): 12},
    "convnext_tiny": {("regions 4 bit", "bf16"): 12},
    "swin_tiny_patch4_window7_224": {("regions 4 bit", "bf16"): 12},
}  # fmt: skip
WAYS = (("codes", 2), ("codes", 4), ("regions", 4), ("blocks", 4))
BATCHES, SIZE, CLASSES = (2, 4), 224, 100


@dataclasses.dataclass(frozen=True)
class Held:
    """One way of storing. bytes: per sample. error: relative L2 of bias gradients to stock. ledger: share off."""

    model: str
    precision: str
    way: str
    bytes: int
    ratio: float
    target: float | None
    error: float
    ledger: float

    @property
    def is_met(self) -> bool:
        """Whether the ratio reaches its target, if it has one."""
        return self.target is None or self.ratio >= self.target


def measured(name: str, precision: str, size: int = SIZE) -> Iterator[Held]:
    """Every way on one model."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES)
    show_every_block(model)
    stock = full(copy.deepcopy(model), torch.empty(0))
    whole = _slope([_held(stock, n, size, precision, None)[0] for n in BATCHES])
    ours = bias(model, torch.empty(0))
    exact = _gradient(ours, size, precision, None)
    x, _ = measure.images(2, size, CLASSES, torch.float32)
    for kind, bits in WAYS:
        storage, chosen = f"{kind} {bits} bit", policy(ours.model, x, bits, kind.removesuffix("s"))
        if kind == "codes":
            chosen = policy(ours.model, x, bits, "codes")
        per_batch = [_held(ours, n, size, precision, chosen) for n in BATCHES]
        held, ledger = per_batch[-1]
        per_sample = _slope([bytes_ for bytes_, _ in per_batch])
        target = TARGETS.get(name, {}).get((storage, precision))
        actual = _gradient(ours, size, precision, chosen)
        error = float((actual - exact).norm() / exact.norm())
        yield Held(name, precision, storage, per_sample, whole / per_sample, target, error, abs(ledger / held - 1))


def _slope(held: list[int]) -> int:
    return round((held[1] - held[0]) / (BATCHES[1] - BATCHES[0]))


def _held(runner: Runner, batch: int, size: int, precision: str, chosen: StoragePolicy | None) -> tuple[int, int]:
    """(bytes alive after forward without weights and input by the meter, by the session's ledger)."""
    x, y = measure.images(batch, size, CLASSES, torch.float32)
    ledger = 0

    def forward() -> Tensor:
        nonlocal ledger
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            if chosen is None:
                return nn.functional.cross_entropy(runner.model(x).float(), y)
            with compress(runner.model, chosen, ledger=True) as session:
                loss = nn.functional.cross_entropy(runner.model(x).float(), y)
            ledger = session.ledger.total_bytes
            return loss

    return held_bytes(runner.model, forward, (x, y)), ledger


def _gradient(runner: Runner, size: int, precision: str, chosen: StoragePolicy | None) -> Tensor:
    x, y = measure.images(2, size, CLASSES, torch.float32)
    around = runner.around if chosen is None else lambda: compress(runner.model, chosen)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        gradient = measure.gradients(Runner(runner.model, around), x, y)
    return torch.cat([grad.flatten() for name, grad in gradient.items() if name.endswith("bias")]).double()


def line(row: Held) -> str:
    """One line of the table."""
    target = "" if row.target is None else f">= {row.target:g}  {'met' if row.is_met else 'MISSED'}"
    return (
        f"{row.model:30} {row.precision:5} {row.way:14} {row.bytes / 1e6:8.2f} MB {row.ratio:7.1f}x "
        f"error {row.error:8.1e}  ledger {100 * row.ledger:5.2f} %  {target}"
    )


def main(argv: list[str] | None = None) -> int:
    """Prints the table; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.held", description=__doc__)
    parser.add_argument("models", nargs="*", help="timm names (default: those with a target)")
    parser.add_argument("--image-size", type=int, default=SIZE)
    given = parser.parse_args(argv)
    all_met = True
    for name in given.models or TARGETS:
        for precision in ("fp32", "bf16"):
            for row in measured(name, precision, given.image_size):
                sys.stdout.write(line(row) + "\n")
                sys.stdout.flush()
                all_met &= row.is_met
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
