"""Error of each operator at each width beside its target: `python -m benchmarks.operators WEIGHTS PHOTOS.tar`.

Real part: DeiT-tiny's ImageNet weights, biases trained with a random head, 32 photos; cosine and relative L2 of all
bias gradients against exact ones, with one kind of operator coded and every other exact. Fitted tables come from 8
other photos. The targets are what a prototype reached on the same weights with 32 photos of the same folder; `--draw`
takes other photos and another head. Synthetic part: relative RMS error of the codes
of N(0, 1) tensors; the targets are those of a uniform quantiser over the full range, as in every published system.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from s2a_core import kernels
from s2a_core.compression import compress, discover
from s2a_core.models import load_model
from s2a_core.profiling.fitted import fitted_tables
from s2a_core.storage import FittedTable, Storage, StoragePolicy

NUM_PHOTOS = 32
NUM_CALIBRATION = 8
PHOTOS_APART = 16  # of each class, from one draw to the next
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as DeiT was trained
CODED = ("layer_norm", "attention", "gelu")
# (what is coded, bits): (cosine, relative L2) of the prototype
TARGETS: dict[tuple[str, int], tuple[float, float]] = {
    ("gelu, universal table", 1): (0.43, 1.9),
    ("gelu, universal table", 2): (0.949, 0.32),
    ("gelu, universal table", 3): (0.977, 0.24),
    ("gelu, fitted table", 1): (0.848, 0.57),
    ("gelu, fitted table", 2): (0.962, 0.28),
    ("gelu, fitted table", 3): (0.993, 0.12),
    ("gelu, fitted table", 4): (0.9985, 0.056),
    ("layer_norm", 2): (0.995, 0.10),
    ("layer_norm", 3): (0.9991, 0.043),
    ("layer_norm", 4): (0.9998, 0.021),
    ("attention", 3): (0.989, 0.15),
    ("attention", 4): (0.9973, 0.075),
    ("norm + qkv + attention from x̂", 3): (0.987, 0.16),
    ("norm + qkv + attention from x̂", 4): (0.9974, 0.073),
    ("everything coded", 2): (0.864, 0.51),
    ("everything coded", 3): (0.962, 0.29),
    ("everything coded", 4): (0.991, 0.14),
    ("both halves from x̂", 3): (0.962, 0.28),
    ("both halves from x̂", 4): (0.992, 0.13),
    ("both halves from x̂", 5): (0.998, 0.063),
    ("both halves from x̂", 6): (0.9996, 0.029),
    ("both halves from x̂", 8): (0.99997, 0.008),
}


@dataclass(frozen=True)
class Row:
    """One operator at one width. error: relative L2 of gradients, or relative RMS of codes where cosine is None."""

    what: str
    bits: int
    cosine: float | None
    error: float
    target_cosine: float | None
    target_error: float

    @property
    def is_met(self) -> bool:
        """Whether neither figure is worse than its target, each rounded as the target is written."""
        has_cosine = self.cosine is None or self.target_cosine is None or _reaches(self.cosine, self.target_cosine)
        return has_cosine and self.error <= self.target_error * (1 + 1e-9)


def _reaches(value: float, target: float) -> bool:
    digits = len(f"{target:.6f}".rstrip("0").partition(".")[2])
    return round(value, digits) >= target


def photos(archive: Path, count: int = NUM_PHOTOS, skip: int = 0) -> tuple[Tensor, Tensor]:
    """Photos of each class of an ImageFolder tar in turn, [count, 3, 224, 224], and labels [count].

    skip: photos of each class that come before them.
    """
    with tarfile.open(archive) as folder:
        names = sorted(m.name for m in folder.getmembers() if "/train/" in m.name and m.name.endswith(".jpg"))
        classes = sorted({name.split("/")[-2] for name in names})
        images, labels = [], []
        for i in range(count):
            label = i % len(classes)
            name = [n for n in names if n.split("/")[-2] == classes[label]][skip + i // len(classes)]
            stream = folder.extractfile(name)
            assert stream is not None
            picture = Image.open(stream).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC)
            images.append(np.asarray(picture.crop((16, 16, 240, 240))).transpose(2, 0, 1))
            labels.append(label)
    x = torch.from_numpy(np.stack(images)).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1), torch.tensor(labels)


def network(weights: Path, classes: int, seed: int = 0) -> nn.Module:
    """DeiT-tiny with its pretrained weights, a seeded head, and nothing but biases and the head trained."""
    model = load_model("deit_tiny_patch16_224", weights=weights, num_classes=classes).train()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith(".bias") or name.startswith("head"))
        if name == "head.weight":
            with torch.no_grad():
                parameter.normal_(0.0, 0.02, generator=generator)
    return model


class Measurement:
    """Bias gradients of one model on one batch, exact and with some sites coded."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.model, self.x, self.y = model, x, y
        self.sites: dict[str, list[str]] = {}
        for spec in discover(model, x[:2]):
            self.sites.setdefault(spec.op, []).append(spec.name)
        self.exact = self.gradient(StoragePolicy())

    def gradient(self, policy: StoragePolicy) -> Tensor:
        """All bias gradients, float64, flat."""
        self.model.zero_grad(set_to_none=True)
        with compress(self.model, policy):
            loss = functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        named = self.model.named_parameters()
        return torch.cat([p.grad.flatten() for n, p in named if n.endswith(".bias") and p.grad is not None]).double()

    def errors(self, names: list[str], bits: int, tables: tuple[FittedTable, ...] = ()) -> tuple[float, float]:
        """Cosine and relative L2 of the gradient with these sites at `bits`."""
        gradient = self.gradient(StoragePolicy(dict.fromkeys(names, Storage(f"b{bits}")), tables=tables))
        cosine = torch.dot(gradient, self.exact) / (gradient.norm() * self.exact.norm())
        return float(cosine), float((gradient - self.exact).norm() / self.exact.norm())


def real_rows(weights: Path, archive: Path, only: str = "", draw: int = 0) -> Iterator[Row]:
    """Rows of the targets whose name contains `only`, measured on real weights and photos.

    draw: number of the photos and of the head.
    """
    x, y = photos(archive, skip=draw * PHOTOS_APART)
    calibration, _ = photos(archive, NUM_CALIBRATION, skip=draw * PHOTOS_APART + PHOTOS_APART // 2)
    measurement = Measurement(network(weights, int(y.max()) + 1, draw), x, y)
    sites = measurement.sites
    regions = sites["region"]
    groups = {
        "norm + qkv + attention from x̂": [name for name in regions if "attn" in name],
        "both halves from x̂": regions,
        "everything coded": [name for op in CODED for name in sites[op]],
    }
    fitted = fitted_tables(measurement.model, calibration, "fp32") if only in "gelu, fitted table" else ()
    for (what, bits), (cosine, error) in TARGETS.items():
        if only not in what:
            continue
        names = groups.get(what) or sites[what.partition(",")[0]]
        yield Row(what, bits, *measurement.errors(names, bits, fitted if "fitted" in what else ()), cosine, error)


def synthetic_rows() -> Iterator[Row]:
    """Codes of N(0, 1) tensors [4, 197, 64] and of softmax rows, against a full-range uniform quantiser."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(4, 197, 64, generator=generator)
    tensors = {"normal tokens": normal, "softmax rows": (normal * 2).softmax(-1)}
    for what, x in tensors.items():
        for bits in kernels.BITS:
            payload = kernels.quantize_channels(x, bits)
            back = kernels.dequantize_channels(payload, (4, 197, 64), bits, torch.float32)
            step = (x.amax(1) - x.amin(1)) / (2**bits - 1)
            uniform = float(step.square().mean().sqrt() / math.sqrt(12) / x.square().mean().sqrt())
            error = float((back - x).norm() / x.norm())
            yield Row(f"synthetic {what}", bits, None, error, None, uniform)


def line(row: Row) -> str:
    """One line of the table."""
    cosine = "" if row.cosine is None else f"{row.cosine:.5f}"
    target = "" if row.target_cosine is None else f"{row.target_cosine:g}"
    verdict = "met" if row.is_met else "MISSED"
    return f"{row.what:32} {row.bits:4} {cosine:>9} {target:>9} {row.error:9.4f} {row.target_error:9.4f}  {verdict}"


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="safetensors of deit_tiny_patch16_224.fb_in1k")
    parser.add_argument("photos", type=Path, help="tar of an ImageFolder with a train part")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--draw", type=int, default=0, help="other photos and another head")
    given = parser.parse_args(arguments)
    header = ("operator", "bits", "cosine", "target", "error", "target")
    sys.stdout.write("{:32} {:>4} {:>9} {:>9} {:>9} {:>9}\n".format(*header))
    all_met = True
    for row in itertools.chain(synthetic_rows(), real_rows(given.weights, given.photos, given.only, given.draw)):
        sys.stdout.write(line(row) + "\n")
        all_met &= row.is_met
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
