"""Load on one service: 50 clients ask for a job's status and 10 read its events while it trains.

Runs three jobs, each on a service of its own, and within a job takes turns of some seconds with the load and without
it: neighbouring turns are a pair, so that whatever else the machine does meanwhile is in both. Prints the latency of
GET /v1/jobs/{id} and how much longer a training step takes. Exits 1 above 100 ms (p99) or 10 % (median of the jobs,
each the median of its pairs). Clients ask once a second each, as `s2a watch` and the pages do at most.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

KEY = re.compile(r"s2a_[0-9a-f]{8}_[0-9a-f]{48}")
REQUEST = {"model": "s2a_tiny", "weights": "pretrained", "data": "digits", "budget": "24MiB", "epochs": 500}
MAX_P99_MS, MAX_SLOWDOWN = 100.0, 0.10
console = Console()


@dataclass
class Seen:
    """What the clients saw."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    num_events: int = 0


async def poll(client: httpx.AsyncClient, job: str, seen: Seen, is_over: asyncio.Event, delay_s: float) -> None:
    """Ask for the job's status once a second."""
    await asyncio.sleep(delay_s)
    while not is_over.is_set():
        start = time.perf_counter()
        answer = await client.get(f"/v1/jobs/{job}")
        seen.latencies_ms.append(1e3 * (time.perf_counter() - start))
        if answer.is_error:
            seen.errors.append(f"{answer.status_code} {answer.text[:100]}")
        await asyncio.sleep(1.0)


async def listen(client: httpx.AsyncClient, job: str, seen: Seen, is_over: asyncio.Event, last: list[int]) -> None:
    """Read the job's events, from where this listener was before, checking that each follows the one before."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last[0])}
    async with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers, timeout=None) as answer:
        if answer.is_error:
            seen.errors.append(f"a stream answered {answer.status_code}")
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
                if number != last[0] + 1:
                    seen.errors.append(f"event {number} after {last[0]}")
                last[0], seen.num_events = number, seen.num_events + 1
            if is_over.is_set():
                return


async def events_of(client: httpx.AsyncClient, job: str, after: int) -> list[dict[str, Any]]:
    """Every event above a number."""
    found: list[dict[str, Any]] = []
    while batch := (await client.get(f"/v1/jobs/{job}/events?after={after}&limit=1000")).json()["items"]:
        found += batch
        after = batch[-1]["seq"]
    return found


async def turn(
    client: httpx.AsyncClient, job: str, given: argparse.Namespace, seen: Seen, lasts: list[list[int]]
) -> None:
    """Some seconds under the load."""
    is_over = asyncio.Event()
    watchers = [poll(client, job, seen, is_over, number / given.clients) for number in range(given.clients)]
    watchers += [listen(client, job, seen, is_over, last) for last in lasts]
    tasks = [asyncio.create_task(watcher) for watcher in watchers]
    await asyncio.sleep(given.turn_s)
    is_over.set()
    await asyncio.gather(*tasks)


def step_ms(events: list[dict[str, Any]], start: float, end: float) -> float:
    """Milliseconds of a step that ended between two times, on average."""
    steps = [
        (event["at"], event["step"]) for event in events if event["type"] == "step" and start <= event["at"] <= end
    ]
    if len(steps) < 2 or steps[-1][1] == steps[0][1]:
        raise SystemExit(f"{len(steps)} steps in {end - start:.0f} s: take longer turns (--turn-s)")
    return 1e3 * (steps[-1][0] - steps[0][0]) / (steps[-1][1] - steps[0][1])


async def run(url: str, key: str, given: argparse.Namespace) -> tuple[list[tuple[float, float]], Seen]:
    """(milliseconds of a step alone and under load, per pair of turns; what the clients saw) of one job."""
    seen, lasts = Seen(), [[0] for _ in range(given.streams)]
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits) as client:
        job = (await client.post("/v1/jobs", json=REQUEST)).raise_for_status().json()["id"]
        while not any(event["type"] == "step" for event in await events_of(client, job, 0)):
            await asyncio.sleep(1.0)
        await turn(client, job, given, seen, lasts)  # connections are made, not measured
        times = []
        for number in range(2 * given.turns):
            start = time.time()
            if number % 2:
                await turn(client, job, given, seen, lasts)
            else:
                await asyncio.sleep(given.turn_s)
            times.append((start, time.time()))
        await asyncio.sleep(2.0)  # until the runner's words are here
        found = await events_of(client, job, 0)
        await client.post(f"/v1/jobs/{job}/cancel")
        spent = [step_ms(found, start, end) for start, end in times]
        return list(zip(spent[::2], spent[1::2], strict=True)), seen


def measure(given: argparse.Namespace) -> tuple[list[tuple[float, float]], Seen]:
    """One job on a service of its own."""
    with tempfile.TemporaryDirectory(prefix="s2a-load-", ignore_cleanup_errors=True) as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        log = Path(folder) / "service.log"
        environment = {**os.environ, "S2A_DATA_DIR": folder, "S2A_RATE_PER_S": "0", "OMP_NUM_THREADS": "1"}
        command = [str(Path(sys.executable).with_name("s2a")), "serve", "--port", str(port)]
        with log.open("w") as out:
            service = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while not (key := KEY.search(log.read_text())) or not is_ready(url):
                if time.monotonic() > deadline or service.poll() is not None:
                    raise SystemExit(f"the service did not start:\n{log.read_text()}")
                time.sleep(0.2)
            return asyncio.run(run(url, key.group(), given))
        finally:
            time.sleep(4.0)  # the cancelled job ends
            service.terminate()
            service.wait(30)


def is_ready(url: str) -> bool:
    """Whether the service answers."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


def main() -> int:
    """0 when the latency and the slow-down are inside their limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=4, help="turns under load, and as many without, of each job")
    parser.add_argument("--turn-s", type=float, default=8.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--streams", type=int, default=10)
    given = parser.parse_args()
    slower, latencies, errors = [], list[float](), list[str]()
    for number in range(given.jobs):
        pairs, seen = measure(given)
        slower.append(statistics.median(loaded / alone - 1 for alone, loaded in pairs))
        latencies += seen.latencies_ms
        errors += seen.errors
        shown = ", ".join(f"{alone:.0f}/{loaded:.0f}" for alone, loaded in pairs)
        console.print(
            f"job {number + 1}: ms of a step alone/under load {shown}: median {100 * slower[-1]:+.1f} %; "
            f"{len(seen.latencies_ms)} requests, {seen.num_events} events, {len(seen.errors)} errors",
            soft_wrap=True,
        )
    p99 = statistics.quantiles(latencies, n=100)[98]
    slowdown = statistics.median(slower)
    console.print(
        f"GET /v1/jobs/{{id}}: median {statistics.median(latencies):.1f} ms, "
        f"p99 {p99:.1f} ms (limit {MAX_P99_MS:.0f}); "
        f"step {100 * slowdown:+.1f} % (limit +{100 * MAX_SLOWDOWN:.0f} %); {len(errors)} errors",
        soft_wrap=True,
    )
    for error in errors[:5]:
        console.print(f"  {error}")
    return 0 if not errors and p99 <= MAX_P99_MS and slowdown <= MAX_SLOWDOWN else 1


if __name__ == "__main__":
    sys.exit(main())
