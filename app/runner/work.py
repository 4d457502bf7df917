"""One attempt's work: the pipeline with the job's request, its events told, its errors turned into reasons."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.runner.documents import require_weights
from app.runner.link import Link, Refused
from app.runner.reservation import DEVICE, device_use, give_back, limit_device
from s2a_core.datasets.access import DataAccess, limited_to
from s2a_core.errors import BudgetExceeded, InfeasibleBudget, OutOfMemory, S2AError, StaleProfile
from s2a_core.requests import request_of
from s2a_core.train.types import PauseTraining

ARTIFACTS = (
    "adapter.safetensors",
    "plan.json",
    "report.json",
    "report.html",
    "examples.json",
    "metrics.csv",
    "README.md",
)
PROGRESS_S = 2.0  # a profile of thousands of sites says how far it is every so many seconds
CHECKPOINT, REPORT = "checkpoint.pt", "report.json"
SERVICE_FIELDS = ("dataset",)  # of a job's request, the service's own: the id of what `data` is the folder of
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
    is_tightened = False
    try:
        from s2a_core import pipeline

        job = link.request()
        is_tightened = bool(job.get("is_tightened"))
        if report := finished(output):  # an earlier attempt was killed while it sent what it had made
            return sent(link, output, report)
        limit_device(link.reserved_bytes)
        link.device_use = device_use
        wanted = options(job, output)
        access = DataAccess.from_json(job["data_access"])
        require_weights(access, wanted.get("weights"))

        def train(wanted: dict[str, Any]) -> Any:
            with limited_to(access):
                return pipeline.run(request_of(wanted), lambda event: tell(link, output, plain(event)))

        try:
            report = train(wanted)
        except StaleProfile:
            if not wanted["resume"]:
                raise
            # The plan of the first attempt is not one of this device: begin again with a plan that is.
            report = train({**wanted, "plan": None, "resume": False})
        return sent(link, output, plain(report))
    except (Refused, TimeoutError, PauseTraining):
        raise
    except (OutOfMemory, MemoryError) as error:
        return out_of_memory(error, link.reserved_bytes)
    except BudgetExceeded as error:
        return sent(link, output, plain(error.report))
    except InfeasibleBudget as error:
        reason = {"code": error.code, "message": error.message, "details": plain(error.details)}
        return "failed", nothing_tighter(reason) if is_tightened else reason, None, None
    except S2AError as error:
        return "failed", {"code": error.code, "message": error.message, "details": plain(error.details)}, None, None
    except Exception as error:  # the job's boundary: the traceback is stored with the job
        from s2a_core.meter import is_out_of_memory

        if is_out_of_memory(error):
            return out_of_memory(error, link.reserved_bytes)
        message = f"{type(error).__name__}: {error}"
        reason = {"code": "internal_error", "message": message, "details": {"traceback": traceback.format_exc()}}
        return "failed", reason, None, {"fault": "own", "code": "internal_error"}


def finished(output: Path) -> dict[str, Any] | None:
    """The report of a run that is complete on disk; it is written last, after everything else."""
    try:
        return dict(json.loads((output / REPORT).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def sent(link: Link, output: Path, report: dict[str, Any]) -> Ended:
    """Send what a run made; how its attempt then ends: one that took more than its budget is no success."""
    link.say({"type": "phase", "name": "uploading"})
    for name in ARTIFACTS:
        if (output / name).is_file():
            link.upload(output / name)
    if report.get("within_budget") is False:
        error = BudgetExceeded(report["budget_bytes"], report["measured_peak_bytes"], "its artifacts", report)
        return "failed", {"code": error.code, "message": error.message, "details": error.details}, report, None
    return "succeeded", None, report, None


def out_of_memory(error: BaseException, cap_bytes: int) -> Ended:
    """How an attempt ends that could not get memory, with the verdict about whose it was."""
    from app.runner.verdict import judge
    from s2a_core.device import memory_at_failure

    details = plain(getattr(error, "details", {}))
    reason = {"code": "out_of_memory", "message": str(error) or "out of memory", "details": details}
    memory = memory_at_failure(error, DEVICE)
    return "failed", reason, None, judge(dataclasses.replace(memory, budget_bytes=cap_bytes or memory.budget_bytes))


def nothing_tighter(refusal: dict[str, Any]) -> dict[str, Any]:
    """Why a job ends whose attempts ran out of memory inside its budget, and which no smaller plan fits."""
    message = (
        "earlier attempts took more memory than their plans, up to the job's budget, and no plan leaves free what "
        f"they were short of ({refusal['message']}): use a larger budget"
    )
    return {**refusal, "code": OutOfMemory.code, "message": message}


def options(job: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """What RunRequest is made of. A later attempt goes on from a checkpoint, with the plan that is kept beside it."""
    from s2a_core.planning import Plan

    wanted = {k: v for k, v in job["request"].items() if k not in SERVICE_FIELDS and v is not None}
    if job.get("is_tightened"):
        wanted.pop("plan", None)  # it is for the whole budget
    if isinstance(wanted.get("plan"), Mapping):
        wanted["plan"] = Plan.from_json(wanted["plan"])
    # The profiles that plans of this service are made from: jobs/JOB/ATTEMPT lies beside them.
    profiles = output.parents[2] / "profiles"
    return wanted | {
        "output": output,
        "profile_cache": profiles,
        "resume": bool(job["resume"]) and (output / CHECKPOINT).is_file(),
    }


def tell(link: Link, output: Path, event: dict[str, Any]) -> None:
    """Say an event of the loop; stops here while the service may have given the job to somebody else."""
    link.wait_while_fenced()
    kind = event.get("type")
    if kind == "progress" and not link.is_due(PROGRESS_S) and event.get("done") != event.get("total"):
        return
    if kind == "phase":
        link.is_training = event.get("name") == "training"
    link.say(event)
    if kind == "plan":
        give_back(link, event["plan"])
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
