"""One attempt's work: the pipeline with the job's request, its events told, its errors turned into reasons."""

from __future__ import annotations

import dataclasses
import hashlib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.runner.link import Link, Refused
from s2a_core.errors import OutOfMemory, S2AError, StaleProfile
from s2a_core.train.types import PauseTraining

ARTIFACTS = (
    "adapter.safetensors",
    "plan.json",
    "profile.json",
    "report.json",
    "report.html",
    "metrics.csv",
    "README.md",
)
CHECKPOINT = "checkpoint.pt"
Ended = tuple[str, dict[str, Any] | None, dict[str, Any] | None, dict[str, Any] | None]


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


def run(link: Link, output: Path) -> Ended:
    """Run the pipeline: (status, reason, report, verdict). Raises Refused when the attempt is over."""
    cap = 0
    try:
        from s2a_core import pipeline

        job = link.request()
        cap = int(job["request"].get("budget_bytes") or 0)
        limit_device(cap)
        wanted = options(job, output)
        try:
            report = pipeline.run(pipeline.RunRequest(**wanted), lambda event: tell(link, output, plain(event)))
        except StaleProfile:
            if not wanted["resume"]:
                raise
            # The plan of the first attempt is not one of this device: begin again with a plan that is.
            again = {**wanted, "plan": None, "resume": False}
            report = pipeline.run(pipeline.RunRequest(**again), lambda event: tell(link, output, plain(event)))
        for name in ARTIFACTS:
            if (output / name).is_file():
                link.upload(output / name)
        return "succeeded", None, plain(report), None
    except (Refused, TimeoutError, PauseTraining):
        raise
    except (OutOfMemory, MemoryError) as error:
        return out_of_memory(error, cap)
    except S2AError as error:
        return "failed", {"code": error.code, "message": error.message, "details": plain(error.details)}, None, None
    except Exception as error:  # the job's boundary: the traceback is stored with the job
        from s2a_core.meter import is_out_of_memory

        if is_out_of_memory(error):
            return out_of_memory(error, cap)
        message = f"{type(error).__name__}: {error}"
        reason = {"code": "internal_error", "message": message, "details": {"traceback": traceback.format_exc()}}
        return "failed", reason, None, {"fault": "own", "code": "internal_error"}


def out_of_memory(error: BaseException, cap_bytes: int) -> Ended:
    """How an attempt ends that could not get memory, with the verdict about whose it was."""
    from app.runner.verdict import judge, memory_now

    details = plain(getattr(error, "details", {}))
    reason = {"code": "out_of_memory", "message": str(error) or "out of memory", "details": details}
    return "failed", reason, None, judge(memory_now(cap_bytes, str(error)))


def options(job: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """What RunRequest is made of. A later attempt goes on from a checkpoint, with the plan that is kept beside it."""
    from s2a_core import pipeline
    from s2a_core.planning import Plan

    known = pipeline.RunRequest.__dataclass_fields__
    wanted = {k: v for k, v in job["request"].items() if k in known and v is not None}
    if job.get("is_tightened"):
        wanted.pop("plan", None)  # it is for the whole budget
    if isinstance(wanted.get("plan"), Mapping):
        wanted["plan"] = Plan.from_json(wanted["plan"])
    return wanted | {"output": output, "resume": bool(job["resume"]) and (output / CHECKPOINT).is_file()}


def tell(link: Link, output: Path, event: dict[str, Any]) -> None:
    """Say an event of the loop; stops here while the service may have given the job to somebody else."""
    link.wait_while_fenced()
    kind = event.get("type")
    if kind == "phase":
        link.is_training = event.get("name") == "training"
    link.say(event)
    if kind in ("step", "epoch") and (link.is_stopping or link.is_pausing):
        raise PauseTraining
    if kind == "log" and "step" in event and str(event.get("message", "")).startswith("resumed"):
        link.say({"type": "resumed", "step": event["step"], "epoch": event.get("epoch")})
    if event.get("type") == "epoch" and (output / CHECKPOINT).is_file():
        link.say(checkpoint(output, event))


def checkpoint(output: Path, epoch: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a state that was just saved. path: relative to the data directory."""
    path = output / CHECKPOINT
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    relative = Path("jobs", output.parent.name, output.name, CHECKPOINT).as_posix()
    step = int(epoch.get("step") or epoch.get("epoch") or 0)
    size = path.stat().st_size
    return {"type": "checkpoint", "step": step, "path": relative, "num_bytes": size, "sha256": digest}


def limit_device(budget_bytes: int) -> None:
    """Cap this process on its GPU to the budget, so that it fails alone instead of taking a neighbour's memory."""
    import torch

    if budget_bytes <= 0 or not torch.cuda.is_available():
        return
    free, total = torch.cuda.mem_get_info()  # creates the context
    del free
    torch.cuda.set_per_process_memory_fraction(min(1.0, budget_bytes / total))
