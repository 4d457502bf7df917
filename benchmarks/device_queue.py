"""`python -m benchmarks.device_queue`: real ViT-B trainings at once in `s2a serve`, on one device without silicon.

Jobs of 900 MiB each on a device of 4 GiB whose contexts take 300 MiB. Nothing is pretended but the device: the service,
its queue, its runners, profiles, plans, verification and training are the product's. The device's own count is the
truth (tests/fakegpu). Four jobs whose plans take the budget, and five whose plans give most of it back. Resumable.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.checkout import commit
from benchmarks.device_grid import images
from s2a_core.sizes import MIB
from tests.fakegpu.build import missing
from tests.fakegpu.double import FakeDevices
from tests.faults.service import ENDED, RunningService, command_of

log = logging.getLogger("benchmarks.device_queue")
logging.getLogger("httpx").setLevel(logging.WARNING)
MODEL, BUDGET_MIB, DEVICE_MIB, CONTEXT_MIB, RESERVE_MIB = "vit_base_patch16_224", 900, 4096, 300, 512
CASES = {"four jobs, batches of 64": (4, 64, 2), "five jobs, batches of 1": (5, 1, 20)}  # jobs, batch, epochs
TIMEOUT_S, POLL_S = 3600.0, 0.5


def run_case(num_jobs: int, batch_size: int, epochs: int) -> list[dict[str, Any]]:
    """The jobs in the order in which they were started: seconds since the first one's submission, bytes, status."""
    with tempfile.TemporaryDirectory(prefix="device-queue-") as name:
        folder = Path(name)
        devices = FakeDevices(device_mib=DEVICE_MIB, context_mib=CONTEXT_MIB, directory=folder)
        service = RunningService(
            folder / "s2a", run_workers=False, poll_s=POLL_S, renew_s=1.0, cuda_reserve_bytes=RESERVE_MIB * MIB
        )
        service.environment = devices.environment()
        service.start()
        try:
            photos = str(images(folder / "images"))
            request: dict[str, object] = {"model": MODEL, "weights": "none", "data": photos, "device": "cuda"}
            request |= {"adapter": "bias", "precision": "bf16", "budget": f"{BUDGET_MIB}MiB", "epochs": epochs}
            jobs = [service.submit(**request, batch_size=batch_size, seed=seed) for seed in range(num_jobs)]
            return _watched(service, devices, jobs)
        finally:
            service.stop()


def _watched(service: RunningService, devices: FakeDevices, jobs: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the jobs once all have ended. Raises TimeoutError."""
    begun, pids = time.monotonic(), dict[str, set[int]]()
    beside = dict.fromkeys(jobs, 0)
    while True:
        now = {job: service.job(job) for job in jobs}
        for process in service.runners():
            command = command_of(process)
            if "--output" in command:  # jobs/JOB/output
                pids.setdefault(Path(command[command.index("--output") + 1]).parent.name, set()).add(process.pid)
        running = [job for job in jobs if now[job]["status"] == "running"]
        for job in running:
            beside[job] = max(beside[job], len(running) - 1)
        if all(now[job]["status"] in ENDED for job in jobs):
            break
        if time.monotonic() - begun > TIMEOUT_S:
            raise TimeoutError(json.dumps(now))
        time.sleep(POLL_S)
    first = min(job["created_at"] for job in now.values())
    uses = devices.uses()
    rows = []
    for job in jobs:
        events = service.events(job)
        planned = next((event for event in events if event["type"] == "reservation"), None)
        own = [use.peak_bytes for use in uses if use.pid in pids.get(job, ())]
        rows.append(
            {
                "status": now[job]["status"], "reason": now[job]["reason"], "attempts": now[job]["attempts"],
                "started_s": now[job]["started_at"] - first, "ended_s": now[job]["ended_at"] - first,
                "planned_s": planned and planned["at"] - first,
                "reserved_bytes": planned["reserved_bytes"] if planned else BUDGET_MIB * MIB,
                "held_bytes": max(own, default=None), "most_beside": beside[job],
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: row["started_s"])


def markdown(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """The jobs of every case as Markdown. cases: name -> its commit and rows of jobs."""
    lines = [
        "# ViT-B jobs that share a device without silicon",
        "",
        f"Written by `python -m benchmarks.device_queue`. Nothing here ran on a GPU: `s2a serve`, its "
        f"runners, profiles, plans and trainings of {MODEL} (bias, bf16, 224 px) are real, over a driver that only "
        f"counts (`tests/fakegpu`). The device has {DEVICE_MIB:,} MiB, of which the queue keeps {RESERVE_MIB} free, a "
        f"context takes {CONTEXT_MIB}, and every job asks for {BUDGET_MIB}. *held* is the most that a job's process "
        "held at any moment, by the driver's count. Seconds are of a machine without the device: only their order says "
        "anything.",
    ]
    for name, case in cases.items():
        rows = case["jobs"]
        inside = sum(row["held_bytes"] is not None and row["held_bytes"] <= row["reserved_bytes"] for row in rows)
        succeeded = sum(row["status"] == "succeeded" for row in rows)
        first_end = min(row["ended_s"] for row in rows)
        at_once = max(row["most_beside"] for row in rows) + 1
        lines += [
            "",
            f"## {name[0].upper()}{name[1:]}",
            "",
            f"On {case['commit']}: {succeeded} of {len(rows)} succeeded, {inside} held no more than their reservation "
            "once it was planned; "
            f"{at_once} ran at once, {sum(row['started_s'] < first_end for row in rows)} were started before the first "
            "had ended.",
            "",
            "| job | started s | planned s | ended s | reserved MiB, then | held MiB | beside it | ended |",
            "|--:|--:|--:|--:|--:|--:|--:|---|",
        ]
        for number, row in enumerate(rows, 1):
            planned = "" if row["planned_s"] is None else f"{row['planned_s']:.0f}"
            lines.append(
                f"| {number} | {row['started_s']:.0f} | {planned} | {row['ended_s']:.0f} | {BUDGET_MIB}, "
                f"{row['reserved_bytes'] / MIB:,.0f} | {(row['held_bytes'] or 0) / MIB:,.0f} | {row['most_beside']} "
                f"| {row['status']} |"
            )
    return "\n".join(lines) + "\n"


def is_kept(jobs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every job succeeded at its first attempt inside its reservation."""
    return all(
        row["status"] == "succeeded" and row["attempts"] == 1 and 0 < (row["held_bytes"] or 0) <= row["reserved_bytes"]
        for row in jobs
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 when every job succeeded inside its reservation, 2 where the double cannot be built."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_queue", description=__doc__)
    parser.add_argument("--table", type=Path, default=Path("docs/device/queue.md"))
    parser.add_argument("--json", type=Path, default=Path("docs/device/queue.json"))
    options = parser.parse_args(argv)
    if reason := missing():
        log.error(reason)
        return 2
    cases = json.loads(options.json.read_text()) if options.json.exists() else {}
    for name, case in CASES.items():
        if name not in cases:
            cases[name] = {"commit": commit(), "jobs": run_case(*case)}
            options.json.write_text(json.dumps(cases, indent=1) + "\n")
            options.table.write_text(markdown(cases))
    log.info(options.table.read_text())
    return 0 if all(is_kept(case["jobs"]) for case in cases.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
