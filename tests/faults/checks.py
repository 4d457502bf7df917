"""What holds after every fault: ended once, nothing left running or reserved, no word lost, training continued."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import psutil

from app.runner.spool import LAST_WORD, read_spool
from app.services.jobs import job_folder
from app.store import attempts
from app.store.database import Database
from tests.faults.service import ENDED, RunningService, command_of, processes_of, wait_for
from tests.faults.stub_runner import STEPS


def database_of(service: RunningService) -> Database:
    """The service's database."""
    url = str(service.settings.get("database_url") or "")
    return Database(url or f"sqlite:///{service.folder / 's2a.db'}")


def num_reserved(service: RunningService) -> int:
    """How many attempts hold memory."""
    database = database_of(service)
    try:
        with database.transaction() as session:
            return len(attempts.live(session))
    finally:
        database.close()


def strays(service: RunningService) -> list[psutil.Process]:
    """Processes of attempts and what they started."""
    own = {p.pid for p in service.processes()}
    found = [p for p in processes_of(service.folder) if p.pid not in own and "serve" not in command_of(p)]
    return [p for p in found if p.is_running()]


def check(service: RunningService, job: str, epochs: int, status: str = "succeeded", seconds: float = 120) -> Any:
    """Wait for the job's end and check it; its document."""
    done = service.wait_until(job, *ENDED, seconds=seconds)
    assert done["status"] == status, done["reason"]
    wait_for(lambda: num_reserved(service) == 0, 20, "no reservation is left")
    wait_for(lambda: not strays(service), 10, f"no process is left: {strays(service)}")
    events = service.events(job)
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert Counter(e["type"] for e in events if e["type"] in ENDED) == {status: 1}
    numbers = [e["attempt"] for e in events if e["type"] == "started"]
    assert numbers == list(range(1, done["attempts"] + 1))
    check_words(service, job, events)
    if status == "succeeded":
        check_training(events, epochs)
    return done


def check_words(service: RunningService, job: str, events: list[dict[str, Any]]) -> None:
    """Everything that an attempt wrote to its spool was stored once, in order."""
    for spool in job_folder(service.folder, job).glob("spool-*.jsonl"):
        attempt = int(spool.stem.removeprefix("spool-"))
        if spool.is_symlink():
            continue
        said = [_word(r["type"], r["payload"]) for r in read_spool(spool) if r["type"] != LAST_WORD]
        mine = [e for e in events if e["attempt"] == attempt and e["type"] in {kind for kind, _ in said}]
        known = ("seq", "type", "at", "attempt")
        stored = [_word(e["type"], {k: v for k, v in e.items() if k not in known}) for e in mine]
        assert stored == said


def _word(kind: str, payload: dict[str, Any]) -> tuple[str, str]:
    return kind, json.dumps(payload, sort_keys=True)


def check_training(events: list[dict[str, Any]], epochs: int) -> None:
    """Every step was done, each attempt without a gap, a later one from the newest checkpoint that was told."""
    assert {e["step"] for e in events if e["type"] == "step"} == set(range(1, STEPS * epochs + 1))
    saved = 0
    for attempt in sorted({e["attempt"] for e in events}):
        mine = [e for e in events if e["attempt"] == attempt]
        steps = [e["step"] for e in mine if e["type"] == "step"]
        resumed = [e["step"] for e in mine if e["type"] == "resumed"]
        if steps:
            start = resumed[0] if resumed else 0
            assert start >= saved, f"attempt {attempt} began at {start} though {saved} was saved"
            assert steps == list(range(start + 1, start + 1 + len(steps)))
        saved = max([saved, *(e["step"] for e in mine if e["type"] == "checkpoint")])
