"""A made-up finished run, with everything a report can show."""

from __future__ import annotations

import math
from typing import Any

import pytest

MIB = 2**20


def report_document() -> dict[str, Any]:
    steps = 120
    timeline = [
        [
            i,
            int((90 + 110 * math.sin(math.pi * min(i, steps - i) / steps) + 6 * (i % 3)) * MIB),
            "forward" if i < 55 else "backward" if i < 110 else "optimizer",
        ]
        for i in range(steps)
    ]
    classes = ["cardboard", "glass", "metal", "paper", "plastic", "trash"]
    confusion = [[52 if i == j else (i * 3 + j) % 4 for j in range(6)] for i in range(6)]
    pixel = (
        "data:image/png;base64,"
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    return {
        "model": "deit_tiny_patch16_224",
        "adapter": {"kinds": ["bias", "prompt"]},
        "precision": "fp32",
        "device": "cpu",
        "accuracy": 0.826,
        "best_epoch": 3,
        "epochs": 3,
        "budget_bytes": 256 * MIB,
        "predicted_peak_bytes": 214 * MIB,
        "measured_peak_bytes": 211 * MIB,
        "within_budget": True,
        "trainable_params": 61_446,
        "total_params": 5_525_958,
        "step_ms": 842.0,
        "batch_size": 64,
        "micro_batch": 16,
        "image_size": 224,
        "seed": 0,
        "wall_s": 312.0,
        "weights": "weights.safetensors",
        "classes": classes,
        "history": [
            {
                "epoch": e,
                "train_loss": 1.6 / e,
                "val_loss": 1.5 / e + 0.1,
                "train_accuracy": 1 - 0.5 / e,
                "val_accuracy": 0.83 - 0.3 / e**2,
            }
            for e in range(1, 4)
        ],
        "memory_timeline": timeline,
        "confusion": confusion,
        "mistakes": [
            {"name": f"val/glass/{i}.jpg", "label": 1, "predicted": 4, "probability": 0.97 - i / 50, "thumbnail": pixel}
            for i in range(6)
        ],
        "dataset": {
            "source": "trashnet6",
            "num_train": 941,
            "num_val": 345,
            "num_classes": 6,
            "split": {"made": False},
            "sides": {"min": 256, "median": 256, "max": 341},
            "class_counts": {name: [150 - 9 * i, 60] for i, name in enumerate(classes)},
            "warnings": ["1 image(s) stand in training and in validation, so the accuracy is too good: <a> = b"],
        },
        "phases": [{"name": "profile", "seconds": 11.2}, {"name": "train", "seconds": 290.0}],
        "command": "s2a train deit_tiny_patch16_224 --data trashnet6 --budget 256MiB --output out",
        "s2a_version": "0.1.0",
        "created_at": "2026-01-01T00:00:00Z",
    }


def plan_document() -> dict[str, Any]:
    storages = ["b4", "exact", "mask", "b2", "recompute", "none"]
    sites = [
        {"name": f"blocks.{i // 6}.part{i % 6}:gelu", "storage": storages[i % 6], "bytes": (i % 6) * MIB // 2}
        for i in range(72)
    ]
    parts = {"weights": 22, "gradients": 1, "optimizer": 2, "input": 10, "held": 94, "working": 75, "margin": 10}
    return {
        "mean_bits": 3.2,
        "sites": sites,
        "predicted": {"peak_bytes": 214 * MIB, "breakdown": {k: v * MIB for k, v in parts.items()}},
        "baselines": [
            {"name": "full", "peak_bytes": 1100 * MIB},
            {"name": "lora", "peak_bytes": 800 * MIB},
            {"name": "bias", "peak_bytes": 720 * MIB},
            {"name": "bias_checkpoint", "peak_bytes": 300 * MIB},
        ],
    }


@pytest.fixture
def report() -> dict[str, Any]:
    """report.json of a made-up run."""
    return report_document()


@pytest.fixture
def plan() -> dict[str, Any]:
    """plan.json of a made-up run."""
    return plan_document()
