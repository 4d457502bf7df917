"""Train s2a_tiny, the small ViT that ships with s2a, on letters rendered with distortions; no digit is ever shown.

    python scripts/train_s2a_tiny.py [--steps 600] [--seed 0]

Writes s2a_core/assets/s2a_tiny.safetensors (fp16) and s2a_tiny.json (command, seed, accuracy on held-out fonts).
"""

from __future__ import annotations

import argparse
import json
import math
import string
import sys
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from s2a_core.models import TINY, load_model  # noqa: E402

LETTERS = string.ascii_letters
SIDE = 32
BATCH = 96


def fonts() -> list[str]:
    """Font files that matplotlib ships and that hold plain letters, sorted."""
    wanted = [f.fname for f in font_manager.fontManager.ttflist if "mpl-data" in f.fname]
    return sorted({f for f in wanted if any(k in f for k in ("DejaVu", "STIXGeneral")) and "Display" not in f})


def render(paths: list[str]) -> torch.Tensor:
    """[fonts, letters, 1, 48, 48]: strokes are 1, paper is 0."""
    out = np.zeros((len(paths), len(LETTERS), 1, 48, 48), dtype=np.float32)
    for i, path in enumerate(paths):
        font = ImageFont.truetype(path, 34)
        for j, letter in enumerate(LETTERS):
            canvas = Image.new("L", (48, 48), 0)
            ImageDraw.Draw(canvas).text((24, 24), letter, fill=255, font=font, anchor="mm")
            out[i, j, 0] = np.asarray(canvas, dtype=np.float32) / 255
    return torch.from_numpy(out)


def batch(
    glyphs: torch.Tensor, size: int, generator: torch.Generator, strength: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(images [B, 3, 32, 32] in -1..1, labels): rotated, sheared, scaled, warped, thick or thin, blurred, noisy.

    strength: 0 draws the letters as they are, 1 distorts them fully.
    """

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        middle = (low + high) / 2
        return middle + strength * (low - middle + (high - low) * torch.rand(shape, generator=generator))

    which = torch.randint(glyphs.shape[0], (size,), generator=generator)
    labels = torch.randint(glyphs.shape[1], (size,), generator=generator)
    images = glyphs[which, labels]
    angle, shear = uniform(-0.35, 0.35, size), uniform(-0.35, 0.35, size)
    sx, sy = uniform(0.7, 1.25, size), uniform(0.7, 1.25, size)
    theta = torch.zeros(size, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * sx, (shear - angle.sin()) * sx
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * sy, angle.cos() * sy
    theta[:, :, 2] = uniform(-0.22, 0.22, size, 2)
    grid = functional.affine_grid(theta, [size, 1, SIDE, SIDE], align_corners=False)
    bends = uniform(-0.16, 0.16, size, 2, 4, 4)
    warp = functional.interpolate(bends, (SIDE, SIDE), mode="bicubic", align_corners=False)
    images = functional.grid_sample(images, grid + warp.permute(0, 2, 3, 1), align_corners=False)
    thick = torch.rand(size, 1, 1, 1, generator=generator)
    images = torch.where(thick < 0.4 * strength, functional.max_pool2d(images, 3, 1, 1), images)
    small = functional.interpolate(functional.interpolate(images, (10, 10), mode="area"), (SIDE, SIDE), mode="bicubic")
    images = torch.where(torch.rand(size, 1, 1, 1, generator=generator) < 0.5 * strength, small, images).clamp(0, 1)
    images = images * uniform(0.6, 1.0, size, 1, 1, 1) + 0.08 * strength * torch.randn(
        images.shape, generator=generator
    )
    inverted = torch.rand(size, 1, 1, 1, generator=generator) < 0.15 * strength
    images = torch.where(inverted, images, 1 - images).clamp(0, 1)  # mostly dark strokes on white
    return (images * 2 - 1).expand(-1, 3, -1, -1).contiguous(), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    paths = fonts()
    held = [p for i, p in enumerate(paths) if i % 6 == 5]
    glyphs, unseen = render([p for p in paths if p not in held]), render(held)
    model = load_model(TINY, weights="none", num_classes=len(LETTERS)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    start = time.perf_counter()
    for step in range(options.steps):
        rate = min(1.0, (step + 1) / 40) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        strength = min(1.0, max(0.0, 1.6 * step / options.steps - 0.2))
        images, labels = batch(glyphs, BATCH, generator, strength)
        loss = functional.cross_entropy(model(images), labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            seconds = time.perf_counter() - start
            sys.stderr.write(f"step {step + 1}/{options.steps} loss {loss.item():.3f} {seconds:.0f} s\n")
            levels = {"plain": 0.0, "half_distorted": 0.45, "fully_distorted": 1.0}
            save(model, options, {name: evaluate(model, unseen, level) for name, level in levels.items()}, step + 1)


@torch.inference_mode()
def evaluate(model: torch.nn.Module, glyphs: torch.Tensor, strength: float = 1.0) -> float:
    """Share of 1,040 distorted letters of unseen fonts that are read rightly, upper and lower case told apart."""
    model.eval()
    generator = torch.Generator().manual_seed(12345)
    right = 0
    for _ in range(10):
        images, labels = batch(glyphs, 104, generator, strength)
        right += int((model(images).argmax(-1) == labels).sum())
    model.train()
    return right / 1040


def save(model: torch.nn.Module, options: argparse.Namespace, accuracy: dict[str, float], steps: int) -> None:
    folder = ROOT / "s2a_core" / "assets"
    state = {name: tensor.detach().half().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(state, str(folder / "s2a_tiny.safetensors"), metadata={"format": "pt"})
    record = {
        "command": f"python scripts/train_s2a_tiny.py --steps {options.steps} --seed {options.seed}",
        "seed": options.seed,
        "steps": steps,
        "task": "52 letters rendered with distortions; accuracy on fonts that were not trained on",
        "accuracy": {name: round(value, 4) for name, value in accuracy.items()},
        "torch": torch.__version__,
    }
    (folder / "s2a_tiny.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
