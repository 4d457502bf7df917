"""`python -m app.runner`: run one attempt of a job and report over HTTP; its token comes on standard input."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.runner.link import Link, Refused
from s2a_core.errors import S2AError

HEARTBEAT_S = 1.0
ARTIFACTS = (
    "adapter.safetensors",
    "plan.json",
    "profile.json",
    "report.json",
    "report.html",
    "metrics.csv",
    "README.md",
)


def beat(link: Link, is_over: threading.Event) -> None:
    """Heartbeats and events until the run is over; ends the process when the service refuses it."""
    while not is_over.wait(HEARTBEAT_S):
        try:
            link.flush()
            if link.heartbeat():
                os._exit(0)
        except Refused:
            os._exit(3)


def plain(value: Any) -> Any:
    """JSON of an event: dataclasses, paths and numbers of other libraries included."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return plain(value.item()) if hasattr(value, "item") else str(value)


def run(link: Link, output: Path) -> tuple[str, dict[str, Any] | None, dict[str, Any] | None]:
    """Run the pipeline: (status, reason, report)."""
    try:
        from s2a_core import pipeline

        job = link.request()
        known = pipeline.RunRequest.__dataclass_fields__
        wanted = {k: v for k, v in job["request"].items() if k in known and v is not None}
        if wanted.get("weights") == "none":
            del wanted["weights"]
        has_checkpoint = bool(job["resume"]) and output.is_dir() and any(output.iterdir())
        request = pipeline.RunRequest(**wanted, output=output, resume=has_checkpoint)
        report = pipeline.run(request, lambda event: link.say(plain(event)))
        for name in ARTIFACTS:
            if (output / name).is_file():
                link.upload(output / name)
        return "succeeded", None, plain(report)
    except Refused:
        raise
    except S2AError as error:
        return "failed", {"code": error.code, "message": error.message, "details": plain(error.details)}, None
    except Exception as error:  # the job's boundary: the traceback is stored with the job
        details = {"traceback": traceback.format_exc()}
        return (
            "failed",
            {"code": "internal_error", "message": f"{type(error).__name__}: {error}", "details": details},
            None,
        )


def main(argv: list[str] | None = None) -> int:
    """0 when the job's end was told to the service, also when it failed; 3 when the service refused this attempt."""
    parser = argparse.ArgumentParser(prog="python -m app.runner", description=__doc__)
    parser.add_argument("--attempt", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    link = Link(args.url, args.attempt, sys.stdin.readline().strip())
    is_over = threading.Event()
    threading.Thread(target=beat, args=(link, is_over), daemon=True).start()
    try:
        status, reason, report = run(link, args.output)
        is_over.set()
        link.finish(status, reason, report)
    except Refused as why:
        sys.stderr.write(f"{why}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
