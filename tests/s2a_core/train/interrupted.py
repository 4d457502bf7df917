"""A small training in a process of its own, which tells each step and may be killed at any moment."""

from __future__ import annotations

import io
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.datasets import DatasetReport, ImageDataset, ImageSplit, Sample
from s2a_core.models import load_model
from s2a_core.train import TrainConfig, train
from s2a_core.train.checkpoint import drop_checkpoint
from tests.s2a_core.runs import hand_plan

EPOCHS, TRAIN_IMAGES, BATCH = 15, 32, 8
STEPS = EPOCHS * TRAIN_IMAGES // BATCH


def shades() -> ImageDataset:
    """Ten classes of grey noise, each brighter than the one before, made without a disk."""
    noise = np.random.default_rng(0)

    def sample(number: int) -> Sample:
        pixels = noise.integers(0, 60, (32, 32, 3)) + 18 * (number % 10)
        encoded = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(encoded, "BMP")
        return Sample(f"{number}.bmp", encoded.getvalue(), number % 10)

    samples = tuple(map(sample, range(TRAIN_IMAGES + 20)))
    classes = tuple(map(str, range(10)))
    report = DatasetReport("shades", "made", 10, TRAIN_IMAGES, 20, {}, {})
    return ImageDataset(ImageSplit(samples[:TRAIN_IMAGES]), ImageSplit(samples[TRAIN_IMAGES:]), classes, report)


def run(output: Path, steps: Connection) -> None:
    """Train to the end, with a checkpoint after every step, and leave the final weights in output/final.pt."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias", "prompt")))
    config = TrainConfig(epochs=EPOCHS, resume=True, checkpoint_s=0.0, ema_decay=0.9, evaluate_every=5)
    plan = hand_plan("bias,prompt", BATCH, BATCH // 2)

    def follow(event: dict[str, object]) -> None:
        if event["type"] == "step":
            steps.send(event["step"])

    train(model, shades(), plan, config, output, follow)
    torch.save(model.state_dict(), output / "final.part")
    (output / "final.part").rename(output / "final.pt")
    drop_checkpoint(output)
