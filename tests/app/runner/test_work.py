"""A run's errors become reasons with a code; its events become JSON; a later attempt goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.runner import work
from app.runner.work import plain, run
from s2a_core import pipeline
from s2a_core.errors import InfeasibleBudget, OutOfMemory, StaleProfile
from s2a_core.train.types import PauseTraining


@dataclass
class Epoch:
    """An event with what pipelines put into events."""

    path: Path
    loss: Any


class PretendLink:
    """Hands out one request and keeps what it is told."""

    def __init__(self, request: dict[str, Any], **job: Any) -> None:
        access = {"roots": [], "cache": "cache", "uses_hub_token": False}
        self.job = {"request": request, "resume": False, "data_access": access, **job}
        self.said: list[dict[str, Any]] = []
        self.uploaded: list[str] = []
        self.is_training = self.is_stopping = self.is_pausing = False
        self.reserved_bytes, self.missed_bytes = int(request.get("budget_bytes", 0)), 0

    def request(self) -> dict[str, Any]:
        """What to run."""
        return self.job

    def wait_while_fenced(self) -> None:
        """Never fenced."""

    def upload(self, path: Path) -> None:
        """Remember its name."""
        self.uploaded.append(path.name)

    def say(self, event: dict[str, Any]) -> None:
        """Keep it."""
        self.said.append(event)


def test_events_become_json() -> None:
    assert plain(Epoch(Path("a"), np.float32(0.5))) == {"path": "a", "loss": 0.5}
    assert plain({"a": (1, float("nan"), None)}) == {"a": [1, None, None]}


def test_an_unknown_model_is_a_reason_with_its_code(tmp_path: Path) -> None:
    link: Any = PretendLink({"model": "no_such_model", "data": "digits", "budget_bytes": 2**26})
    status, reason, report, verdict = run(link, tmp_path / "output")
    assert (status, report, verdict) == ("failed", None, None)
    assert reason is not None
    assert reason["code"] == "unknown_model"


@pytest.mark.parametrize(
    ("error", "code", "fault"),
    [
        (OutOfMemory("Tried to allocate 20.00 MiB"), "out_of_memory", "memory"),
        (MemoryError(), "out_of_memory", "memory"),
        (RuntimeError("can't allocate memory: you tried to allocate 8 bytes"), "out_of_memory", "memory"),
        (ZeroDivisionError("oops"), "internal_error", "own"),
    ],
)
def test_an_error_comes_with_a_verdict_about_whose_fault_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, fault: str
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    link: Any = PretendLink({"model": "s2a_tiny", "data": "digits", "budget_bytes": 2**26})
    status, reason, _, verdict = run(link, tmp_path / "output")
    assert status == "failed"
    assert reason is not None
    assert verdict is not None
    assert (reason["code"], verdict["fault"]) == (code, fault)


@pytest.mark.parametrize(("is_tightened", "code"), [(False, "infeasible_budget"), (True, "out_of_memory")])
def test_a_budget_that_missed_memory_made_too_small_is_not_told_as_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_tightened: bool, code: str
) -> None:
    def fail(*_: Any) -> Any:
        raise InfeasibleBudget(
            budget_bytes=333 * 2**20, min_feasible_budget_bytes=341 * 2**20, binding="context", binding_bytes=2**28
        )

    monkeypatch.setattr(pipeline, "run", fail)
    link: Any = PretendLink({"model": "s2a_tiny", "data": "digits", "budget_bytes": 2**26}, is_tightened=is_tightened)
    status, reason, _, verdict = run(link, tmp_path / "output")
    assert (status, verdict) == ("failed", None)
    assert reason is not None
    assert reason["code"] == code
    assert reason["details"]["min_feasible_budget_bytes"] == 341 * 2**20
    assert "nothing fits 333 MiB" in reason["message"]
    assert ("use a larger budget" in reason["message"]) == is_tightened


def test_a_later_attempt_goes_on_from_a_checkpoint_and_a_tightened_one_without_the_plan_it_was_asked_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan beside the checkpoint is the pipeline's to read."""
    output = tmp_path / "job" / "output"
    output.mkdir(parents=True)
    monkeypatch.setattr("s2a_core.planning.Plan.from_json", lambda document: document["plan"])
    request: dict[str, Any] = {"model": "m", "weights": "none", "adapter": "auto"}
    job: dict[str, Any] = {"request": {**request, "plan": {"plan": "made"}}, "resume": True}
    profiles = output.parents[2] / "profiles"
    request |= {"profile_cache": profiles}
    assert work.options(job, output) == {**request, "plan": "made", "output": output, "resume": False}
    (output / work.CHECKPOINT).write_bytes(b"state")
    assert work.options(job, output) == {**request, "plan": "made", "output": output, "resume": True}
    assert work.options({**job, "is_tightened": True}, output) == {**request, "output": output, "resume": True}


def test_an_epoch_tells_its_checkpoint_with_its_checksum(tmp_path: Path) -> None:
    output = tmp_path / "job_1" / "output"
    output.mkdir(parents=True)
    (output / work.CHECKPOINT).write_bytes(b"state")
    link: Any = PretendLink({})
    work.tell(link, output, {"type": "epoch", "epoch": 2})
    told = link.said[-1]
    assert (told["type"], told["step"], told["num_bytes"]) == ("checkpoint", 2, 5)
    assert told["path"] == "jobs/job_1/output/checkpoint.pt"
    assert len(told["sha256"]) == 64


def test_a_loop_that_was_asked_to_stop_stops_at_its_next_step_and_a_resumed_one_says_from_where(tmp_path: Path) -> None:
    link: Any = PretendLink({})
    output = tmp_path / "job" / "output"
    work.tell(link, output, {"type": "phase", "name": "training"})
    assert link.is_training
    work.tell(link, output, {"type": "log", "message": "resumed after step 4 of 9", "step": 4, "epoch": 1})
    link.is_stopping = True
    work.tell(link, output, {"type": "warning", "message": "not a step"})
    with pytest.raises(PauseTraining):
        work.tell(link, output, {"type": "step", "step": 5})
    assert [e["type"] for e in link.said] == ["phase", "log", "resumed", "warning", "step"]
    assert link.said[2]["step"] == 4


def test_a_run_that_was_killed_while_it_sent_its_files_sends_them_and_does_not_train_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("adapter.safetensors", "plan.json"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(pipeline, "run", lambda *_: 1 / 0)
    link: Any = PretendLink({"budget_bytes": 2**26})
    (tmp_path / "report.json").write_text('{"accuracy": 0.5')  # torn: the run is not complete
    assert run(link, tmp_path)[0] == "failed"
    (tmp_path / "report.json").write_text('{"accuracy": 0.5}')
    assert run(link, tmp_path) == ("succeeded", None, {"accuracy": 0.5}, None)
    assert link.uploaded == ["adapter.safetensors", "plan.json", "report.json"]


def test_a_plan_of_another_device_is_made_again_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, bool]] = []

    def pretend(request: Any, _: Any) -> Any:
        asked.append((request.plan, request.resume))
        if request.plan is not None:
            raise StaleProfile("another device")
        return {"accuracy": 1.0}

    monkeypatch.setattr(pipeline, "run", pretend)
    monkeypatch.setattr(work, "options", lambda job, output: {"model": "m", "plan": "made", "resume": True})
    link: Any = PretendLink({"model": "m"})
    assert run(link, tmp_path / "output")[0] == "succeeded"
    assert asked == [("made", True), (None, False)]
