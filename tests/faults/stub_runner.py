"""The real runner with a pretended training: steps, a checkpoint each epoch, a child process, and resume from there.

A job's epochs are its epochs of STEPS steps, its seed the milliseconds of a step. Options before the runner's own:
--full-disk  the spool's disk has no room.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from app.runner.__main__ import main
from app.runner.link import Link
from app.runner.spool import spool_path
from app.runner.work import CHECKPOINT, Ended, tell

STEPS = 5


def keep(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def train(link: Link, output: Path) -> Ended:
    """The work of an attempt."""
    job = link.request()
    output.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {"epoch": 0, "step": 0}
    if job["resume"] and (output / CHECKPOINT).is_file():
        state = json.loads((output / CHECKPOINT).read_text())
        tell(link, output, {"type": "resumed", **state})
    child = subprocess.Popen(["sh", "-c", f"while :; do sleep 1; done # {output}"])
    try:
        tell(link, output, {"type": "phase", "name": "training"})
        for epoch in range(state["epoch"] + 1, int(job["request"]["epochs"]) + 1):
            for step in range(STEPS * (epoch - 1) + 1, STEPS * epoch + 1):
                time.sleep(int(job["request"].get("seed") or 0) / 1000)
                if child.poll() is not None:
                    raise_error = f"a child of the runner died with {child.returncode}"
                    return (
                        "failed",
                        {"code": "internal_error", "message": raise_error, "details": {}},
                        None,
                        {
                            "fault": "own",
                            "code": "internal_error",
                        },
                    )
                tell(link, output, {"type": "step", "epoch": epoch, "step": step, "loss": 1.0 / step})
            keep(output / CHECKPOINT, json.dumps({"epoch": epoch, "step": STEPS * epoch}))
            tell(link, output, {"type": "epoch", "epoch": epoch, "step": STEPS * epoch, "val_accuracy": 0.5})
        keep(output / "report.json", json.dumps({"accuracy": 0.5}))
        link.upload(output / "report.json")
        return "succeeded", None, {"accuracy": 0.5, "attempt": os.getpid()}, None
    finally:
        child.kill()
        child.wait()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--full-disk" in arguments:
        arguments.remove("--full-disk")
        output = Path(arguments[arguments.index("--output") + 1])
        epoch = int(arguments[arguments.index("--epoch") + 1])
        output.parent.mkdir(parents=True, exist_ok=True)
        if not spool_path(output, epoch).is_symlink():
            spool_path(output, epoch).symlink_to("/dev/full")
    sys.exit(main(arguments, train))
