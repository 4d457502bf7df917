"""`python -m benchmarks.coverage`: one model of every timm family under `compress`, its gradients against stock.

For each: bias tuning in fp32 on noise, once as stock PyTorch does it and three times under `compress`: everything
exact, every site in 8-bit codes, every region or block in 8 bits. A model of which something is kept exact because no
operator of ours covers it is shown with those bytes; no model is left out because it fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks.families import SMALLEST
from benchmarks.measure import cosine
from benchmarks.suite import show_every_block
from s2a_core.compression import Ledger, compress, discover
from s2a_core.storage import Storage, StoragePolicy

log = logging.getLogger("benchmarks.coverage")
BATCH, CLASSES, IMAGE_SIZE = 2, 10, 96
OTHER_SIZE = 98  # for patches of 7 or 14

# Small and different enough to run with every test run: plain and hierarchical transformers, CNNs, mixers.
OFTEN = (
    "test_vit", "test_vit3", "test_vit_relpos", "test_convnext", "test_resnet", "test_efficientnet", "test_nfnet",
    "test_mambaout", "test_maxvit", "test_byobnet", "lcnet_035", "starnet_s050",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Coverage:
    """One model. Errors are relative L2 and cosines of the trainable gradient; bytes are per sample."""

    model: str
    family: str
    image_size: int
    sites: int = 0
    regions: int = 0
    blocks: int = 0
    held_stock_bytes: int = 0
    held_8bit_bytes: int = 0
    kept_exact_bytes: int = 0
    kept_exact_operators: tuple[str, ...] = ()
    error_exact: float | None = None
    cosine_8bit: float | None = None
    cosine_regions: float | None = None
    failure: str = ""

    @property
    def is_good(self) -> bool:
        """Ran, exact storage equals stock to 1e-4 and 8-bit codes have a cosine of at least 0.999.

        Regions are shown, not judged: on CNNs a whole block rebuilt from rounded inputs moves its ReLUs.
        """
        return not self.failure and (self.error_exact or 0.0) <= 1e-4 and (self.cosine_8bit or 0.0) >= 0.999


def create(name: str, image_size: int) -> tuple[nn.Module, int]:
    """(the model for bias tuning, random weights from seed 0, the image size it takes).

    A model without a bias trains its norms' scales.
    """
    model, size = _sized(name, image_size)
    show_every_block(model)
    named = dict(model.named_parameters())
    trained = [p for n, p in named.items() if n.endswith("bias") or n.startswith(("head", "fc", "classifier"))]
    model.requires_grad_(False)
    for parameter in trained or [p for p in named.values() if p.dim() == 1]:
        parameter.requires_grad_(True)
    return model, size


def _sized(name: str, image_size: int) -> tuple[nn.Module, int]:
    """The model made for `image_size`, else taking it, else made for one near it or of its own, with that size."""
    ways: tuple[tuple[dict[str, Any], int | None], ...] = (
        ({"img_size": image_size}, image_size), ({}, image_size), ({"img_size": OTHER_SIZE}, OTHER_SIZE), ({}, None)
    )  # fmt: skip
    for options, wanted in ways:
        try:
            torch.manual_seed(0)
            model = timm.create_model(name, num_classes=CLASSES, **options).eval()
            config: Any = model.default_cfg
            is_fixed = not options and config.get("fixed_input_size")
            size = config["input_size"][-1] if wanted is None or is_fixed else wanted
            with torch.no_grad():
                model(torch.zeros(1, 3, size, size))
        except Exception as error:  # no img_size, or a size that no patch divides: the next way
            reason = error
        else:
            return model, int(size)
    raise reason


def check(name: str, image_size: int = IMAGE_SIZE) -> Coverage:
    """Every policy on one model. A failure is part of the result, not an exception."""
    family = ""
    try:
        family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
        model, size = create(name, image_size)
        row = Coverage(name, family, size)
        return _checked(row, model)
    except Exception as error:  # the table is about every model: a failing one is a row
        return Coverage(name, family, image_size, failure=f"{type(error).__name__}: {str(error)[:300]}")


def _checked(row: Coverage, model: nn.Module) -> Coverage:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, 3, row.image_size, row.image_size, generator=generator)
    y = torch.arange(BATCH) % CLASSES
    stock, _ = gradients(model, x, y, None)
    # at `exact` everything passes through the session; the unused name keeps it from standing aside
    exact, held = gradients(model, x, y, StoragePolicy({"nothing:none": Storage.B8}, Storage.EXACT))
    specs = discover(model, x)
    codes = {s.name: _at(s.options, Storage.B8) for s in specs if s.op not in ("region", "block")}
    whole = {s.name: Storage.B8 for s in specs if s.op == "region"} or {
        s.name: Storage.B8 for s in specs if s.op == "block"
    }
    at_8, held_8 = gradients(model, x, y, StoragePolicy(codes))
    in_regions = gradients(model, x, y, StoragePolicy(whole, chunk_samples=1))[0] if whole else None
    exact_bytes = Counter[str]()
    for entry in held_8.entries:
        if entry.storage is Storage.EXACT:
            exact_bytes[entry.op] += entry.bytes
    return dataclasses.replace(
        row,
        sites=len(codes),
        regions=sum(s.op == "region" for s in specs),
        blocks=sum(s.op == "block" for s in specs),
        held_stock_bytes=held.total_bytes // BATCH,
        held_8bit_bytes=held_8.total_bytes // BATCH,
        kept_exact_bytes=sum(exact_bytes.values()) // BATCH,
        kept_exact_operators=tuple(op for op, _ in exact_bytes.most_common(5)),
        error_exact=relative_error(exact, stock),
        cosine_8bit=cosine(at_8, stock),
        cosine_regions=None if in_regions is None else cosine(in_regions, stock),
    )


def _at(options: Iterable[Storage], code: Storage) -> Storage:
    """The exact storage that costs nothing or a bit, else `code`, else exact."""
    return next((s for s in (Storage.NONE, Storage.MASK, code) if s in options), Storage.EXACT)


def gradients(model: nn.Module, x: Tensor, y: Tensor, policy: StoragePolicy | None) -> tuple[dict[str, Tensor], Ledger]:
    """(trainable gradients by name, what was kept) of one step; without a policy by stock PyTorch."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(2)
    ledger = Ledger(())
    if policy is None:
        loss = nn.functional.cross_entropy(_logits(model(x)), y)
    else:
        with compress(model, policy, ledger=True) as session:
            loss = nn.functional.cross_entropy(_logits(model(x)), y)
        ledger = session.ledger
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}, ledger


def _logits(out: Any) -> Tensor:
    """[B, classes]; encoders without a classifier give tokens or several outputs: the mean of the first's tokens."""
    first = out if isinstance(out, Tensor) else out[0]
    return first if first.dim() == 2 else first.flatten(1, -2).mean(1)


def relative_error(actual: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm of `exact`."""
    squared = sum(float((actual[n].double() - exact[n].double()).square().sum()) for n in exact)
    total = sum(float(g.double().square().sum()) for g in exact.values())
    return float((squared / max(total, 1e-300)) ** 0.5)


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order of the families, others after them."""
    place = {name: i for i, name in enumerate(SMALLEST.values())}
    return sorted(names, key=lambda name: place.get(name, len(place)))


def table(rows: Iterable[Coverage]) -> str:
    """The rows as Markdown."""
    lines = [
        "| family | model | px | sites | regions | blocks | held MB, stock → 8 bit | exact: error | 8 bit: cosine "
        "| regions or blocks: cosine | kept exact |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for r in rows:
        start = f"| {r.family} | {r.model} | {r.image_size} |"
        if r.failure:
            lines.append(f"{start} failed: {r.failure.replace('|', '/')} |")
            continue
        exact = f"{r.kept_exact_bytes / 1e6:.2f} MB: {', '.join(r.kept_exact_operators)}" if r.kept_exact_bytes else "-"
        regions = "-" if r.cosine_regions is None else f"{r.cosine_regions:.5f}"
        lines.append(
            f"{start} {r.sites} | {r.regions} | {r.blocks} "
            f"| {r.held_stock_bytes / 1e6:.2f} → {r.held_8bit_bytes / 1e6:.2f} | {r.error_exact:.1e} "
            f"| {r.cosine_8bit:.5f} | {regions} | {exact} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if every model is good, else 1.

    Rows already in the result file are kept, so it can be resumed; models that are named are measured again.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("models", nargs="*", help="timm names (default: one of every family that the file lacks)")
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE)
    parser.add_argument("--output", type=Path, default=Path("docs/bench/coverage.json"))
    parser.add_argument("--fresh", action="store_true", help="measure again what the file has")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    known = {} if args.fresh or not args.output.exists() else json.loads(args.output.read_text())["models"]
    names = args.models or list(SMALLEST.values())
    for name in names:
        if args.models or name not in known:
            row = check(name, args.image_size)
            log.info("%-36s %s", name, row.failure or ("good" if row.is_good else f"differs: {row}"))
            known[name] = dataclasses.asdict(row) | {"is_good": row.is_good}
            document = {"torch": torch.__version__, "timm": timm.__version__, "batch": BATCH, "models": known}
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps(document, indent=1) + "\n")
            gc.collect()
    fields = {field.name for field in dataclasses.fields(Coverage)}
    rows = [Coverage(**{k: v for k, v in known[n].items() if k in fields}) for n in ordered(known)]
    args.output.with_suffix(".md").write_text(table(rows))
    good = sum(row.is_good for row in rows)
    log.info("%d of %d models of %d families are good", good, len(rows), len({row.family for row in rows}))
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
