"""Load on one service: 50 clients ask for a job's status and 10 read its events while it trains.

Runs pairs of the same job, alone and under load, each with its own service, and prints the latency of
GET /v1/jobs/{id} and how much longer a training step takes. Exits 1 above 100 ms (p99) or 10 % (median of the pairs).
Clients ask once a second each, as `s2a watch` and the pages do at most.
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

import httpx
from rich.console import Console

KEY = re.compile(r"s2a_[0-9a-f]{8}_[0-9a-f]{48}")
REQUEST = {"model": "s2a_tiny", "weights": "pretrained", "data": "digits", "budget": "24MiB", "epochs": 1}
ENDED = ("succeeded", "failed", "cancelled")
MAX_P99_MS, MAX_SLOWDOWN = 100.0, 0.10
console = Console()


@dataclass
class Seen:
    """What the clients saw."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    num_events: int = 0


async def poll(client: httpx.AsyncClient, job: str, seen: Seen, done: asyncio.Event, delay_s: float) -> None:
    """Ask for the job's status once a second until it has ended."""
    await asyncio.sleep(delay_s)
    while not done.is_set():
        start = time.perf_counter()
        answer = await client.get(f"/v1/jobs/{job}")
        seen.latencies_ms.append(1e3 * (time.perf_counter() - start))
        if answer.is_error:
            seen.errors.append(f"{answer.status_code} {answer.text[:100]}")
        await asyncio.sleep(1.0)


async def listen(client: httpx.AsyncClient, job: str, seen: Seen) -> None:
    """Read the job's events to the end, checking that each number follows the one before."""
    last, has_ended = 0, False
    headers = {"Accept": "text/event-stream"}
    async with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers, timeout=None) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
                if number != last + 1:
                    seen.errors.append(f"event {number} after {last}")
                last, seen.num_events = number, seen.num_events + 1
            has_ended = has_ended or line == "event: end"
    if not has_ended:
        seen.errors.append("a stream ended without its end event")


async def run(url: str, key: str, num_clients: int, num_streams: int) -> tuple[float, Seen]:
    """(milliseconds of a training step, what the clients saw) of one job."""
    seen, done = Seen(), asyncio.Event()
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits) as client:
        job = (await client.post("/v1/jobs", json=REQUEST)).raise_for_status().json()["id"]
        watchers = [poll(client, job, seen, done, number / max(1, num_clients)) for number in range(num_clients)]
        watchers += [listen(client, job, seen) for _ in range(num_streams)]
        tasks = [asyncio.create_task(watcher) for watcher in watchers]
        while (found := (await client.get(f"/v1/jobs/{job}")).json())["status"] not in ENDED:
            await asyncio.sleep(1.0)
        done.set()
        await asyncio.gather(*tasks)
        if found["status"] != "succeeded":
            raise SystemExit(f"the job {found['status']}: {found['reason']}")
        report = (await client.get(f"/v1/jobs/{job}/artifacts/report.json")).json()
        return float(report["step_ms"]), seen


def measure(num_clients: int, num_streams: int) -> tuple[float, Seen]:
    """One job on a service of its own."""
    with tempfile.TemporaryDirectory(prefix="s2a-load-") as folder, socket.socket() as free:
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
            return asyncio.run(run(url, key.group(), num_clients, num_streams))
        finally:
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
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--streams", type=int, default=10)
    given = parser.parse_args()
    ratios, latencies, errors = [], list[float](), list[str]()
    for number in range(given.pairs):
        alone, _ = measure(0, 0)
        loaded, seen = measure(given.clients, given.streams)
        ratios.append(loaded / alone - 1)
        latencies += seen.latencies_ms
        errors += seen.errors
        console.print(
            f"pair {number + 1}: step {alone:.1f} ms alone, {loaded:.1f} ms under load ({100 * ratios[-1]:+.1f} %); "
            f"{len(seen.latencies_ms)} requests, {seen.num_events} events, {len(seen.errors)} errors"
        )
    p99 = statistics.quantiles(latencies, n=100)[98]
    slowdown = statistics.median(ratios)
    console.print(
        f"GET /v1/jobs/{{id}}: median {statistics.median(latencies):.1f} ms, "
        f"p99 {p99:.1f} ms (limit {MAX_P99_MS:.0f}); "
        f"step {100 * slowdown:+.1f} % (limit +{100 * MAX_SLOWDOWN:.0f} %); {len(errors)} errors"
    )
    for error in errors[:5]:
        console.print(f"  {error}")
    return 0 if not errors and p99 <= MAX_P99_MS and slowdown <= MAX_SLOWDOWN else 1


if __name__ == "__main__":
    sys.exit(main())
