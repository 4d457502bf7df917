"""Events become lines with what they carry."""

import io

from app.cli.progress import Lines, describe
from app.cli.terminal import Terminal


def test_events_become_lines() -> None:
    event = {"type": "epoch", "epoch": 1, "epochs": 2, "val_accuracy": 0.5, "peak_bytes": 2**27}
    assert describe(event, 2**28) == "epoch 1/2 validation accuracy 50.0 %, 128 MiB of 256 MiB"
    plan = {"adapter": "bias", "micro_batch": 4, "accumulation": 16, "predicted": {"peak_bytes": 2**23}}
    assert describe({"type": "plan", "plan": plan}, None) == "plan bias, 4 x 16 images, 8.0 MiB predicted"
    err = io.StringIO()
    with Lines(Terminal(False, err, err), None) as follow:
        follow({"type": "phase", "name": "training"})
    assert err.getvalue() == "training\n"


def test_progress_says_how_far_and_how_long() -> None:
    event = {"type": "progress", "phase": "profiling", "done": 14, "total": 60, "eta_s": 40}
    assert describe(event, None) == "profiling: site 14 of 60, about 40 s left"
    assert describe({**event, "eta_s": None}, None) == "profiling: site 14 of 60"
    assert describe({**event, "eta_s": 300}, None).endswith("about 5 min left")
