"""`make demo`: start the service, submit two fine-tuning jobs over REST, follow them, and show what they needed.

Handwritten digits (scikit-learn's, no download) and a small ViT that this repository ships, pretrained on rendered
letters. One job fine-tunes inside a budget that neither full fine-tuning nor stock bias tuning fits; the other is a
linear probe.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

MODEL, DATA = "s2a_tiny", "digits"
BUDGET = "6MiB"
BATCH, EPOCHS = 64, 2
LIMIT_S = 170
CANCEL_S = 20
ENDED = ("cancelled", "succeeded", "failed")
KEY = re.compile(r"s2a_[A-Za-z0-9]+_[A-Za-z0-9_-]+")
MIB = 2**20
console = Console()


class Service:
    """`s2a serve` on SQLite in a folder of its own, on a free port; its output goes to a log there."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "service.log"
        self.key = ""
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("s2a")), "serve", "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "S2A_DATA_DIR": str(folder), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("w") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                if not self.key and (found := KEY.search(line)):
                    self.key = found.group()

    def client(self) -> httpx.Client:
        """A client with the first admin key, once the service is ready."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.key:
                try:
                    if httpx.get(f"{self.url}/readyz", timeout=2).is_success:
                        return httpx.Client(
                            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30
                        )
                except httpx.TransportError:
                    pass
            time.sleep(0.2)
        raise SystemExit(f"the service did not become ready; its output is in {self.log}:\n{self.log.read_text()}")

    def stop(self) -> None:
        """Stop the service; it stops its own children."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)


def submit(client: httpx.Client, adapter: str) -> str:
    """Submit one job; its id."""
    answer = client.post(
        "/v1/jobs",
        json={
            "model": MODEL,
            "weights": "pretrained",
            "data": DATA,
            "budget": BUDGET,
            "adapter": adapter,
            "batch_size": BATCH,
            "epochs": EPOCHS,
            "seed": 0,
        },
    )
    if answer.is_error:
        raise SystemExit(f"POST /v1/jobs answered {answer.status_code}: {answer.text}")
    return str(answer.json()["id"])


def follow(client: httpx.Client, jobs: dict[str, str], started: float) -> None:
    """Wait until every job has ended, saying each change of status and phase."""
    seen: dict[str, str] = {}
    while True:
        states = {name: client.get(f"/v1/jobs/{job}").json() for name, job in jobs.items()}
        for name, state in states.items():
            phases = [p["name"] for p in state.get("phases") or [] if not p.get("ended_at")]
            line = " ".join([state["status"], *phases[-1:]])
            if seen.get(name) != line:
                seen[name] = line
                console.print(f"  {time.monotonic() - started:5.1f} s  {name}: {line}")
            if state["status"] in ("failed", "cancelled"):
                raise SystemExit(f"{name} {state['status']}: {json.dumps(state.get('reason'))}")
        if all(state["status"] == "succeeded" for state in states.values()):
            return
        if time.monotonic() - started > LIMIT_S:
            raise SystemExit(f"not done after {LIMIT_S} s: {seen}")
        time.sleep(0.4)


def cancel(client: httpx.Client, jobs: dict[str, str]) -> None:
    """End the jobs: runs outlive their service, and a demo that ends early must leave none behind."""
    for job in jobs.values():
        client.post(f"/v1/jobs/{job}/cancel")
    deadline = time.monotonic() + CANCEL_S
    while time.monotonic() < deadline:
        states = [client.get(f"/v1/jobs/{job}").json()["status"] for job in jobs.values()]
        if all(state in ENDED for state in states):
            return
        time.sleep(0.4)


def artifact(client: httpx.Client, job: str, name: str) -> dict[str, Any]:
    """A JSON artifact of a job."""
    answer = client.get(f"/v1/jobs/{job}/artifacts/{name}")
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def mib(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / MIB:.2f} MiB"


def show(plan: dict[str, Any], report: dict[str, Any], probe: dict[str, Any]) -> bool:
    """Print the plan, the peaks and the accuracies; True when everything stayed inside the budget."""
    budget = plan["budget_bytes"]
    storages: dict[str, int] = {}
    for site in sites(plan):
        if site != "none":  # a region or block that the plan does not use, or an operator that needs nothing
            storages[site] = storages.get(site, 0) + 1
    kept = ", ".join(f"{count} {storage}" for storage, count in sorted(storages.items(), key=lambda item: -item[1]))
    console.print("\n[bold]Plan[/bold]")
    console.print(
        f"  adapter      {plan['adapter'] if isinstance(plan['adapter'], str) else adapter_name(plan['adapter'])}"
    )
    console.print(f"  sites        {kept}")
    console.print(f"  micro-batch  {plan['micro_batch']} x {plan['accumulation']} of a batch of {BATCH}")
    table = Table(title="Peak memory of a training step, weights and optimizer included", title_justify="left")
    for column in ("", "peak", "budget", ""):
        table.add_column(column, justify="left" if not column else "right")
    for baseline in plan.get("baselines", []):
        peak = baseline["peak_bytes"]
        verdict = "does not fit" if peak > budget else "fits"
        table.add_row(f"{baseline['name']} would need", mib(peak), mib(budget), verdict)
    predicted, measured = report["predicted_peak_bytes"], report["measured_peak_bytes"]
    table.add_row("s2a, predicted", mib(predicted), mib(budget), "")
    table.add_row("s2a, measured", mib(measured), mib(budget), "inside" if measured <= budget else "OVER")
    console.print(table)
    console.print("[bold]Validation accuracy[/bold]")
    console.print(f"  s2a           {100 * report['accuracy']:.1f} %")
    console.print(f"  linear probe  {100 * probe['accuracy']:.1f} %")
    if report["accuracy"] <= probe["accuracy"]:
        console.print("  (no better than the probe: the pretrained features already separate these digits)")
    return bool(measured <= budget and probe["measured_peak_bytes"] <= budget)


def sites(plan: dict[str, Any]) -> list[str]:
    """The storage of every site, whether the document lists or maps them."""
    listed = plan["sites"]
    return [str(s) for s in listed.values()] if isinstance(listed, dict) else [str(s["storage"]) for s in listed]


def adapter_name(adapter: dict[str, Any]) -> str:
    """The kinds of an adapter document."""
    return ", ".join(adapter.get("kinds", [])) or str(adapter)


def main() -> int:
    """0 when both jobs succeeded inside their budget."""
    folder = Path(tempfile.mkdtemp(prefix="s2a-demo-"))
    started = time.monotonic()
    console.print(f"Starting the service on SQLite in {folder}")
    service = Service(folder)
    try:
        with service.client() as client:
            console.print(f"  listening on {service.url}; submitting {MODEL} on {DATA} with a budget of {BUDGET}")
            jobs = {"s2a": submit(client, "auto"), "linear probe": submit(client, "head")}
            try:
                follow(client, jobs, started)
            except BaseException:  # Ctrl-C too
                cancel(client, jobs)
                raise
            plan = artifact(client, jobs["s2a"], "plan.json")
            reports = {name: artifact(client, job, "report.json") for name, job in jobs.items()}
            is_inside = show(plan, reports["s2a"], reports["linear probe"])
            report = folder / "report.html"
            report.write_bytes(client.get(f"/v1/jobs/{jobs['s2a']}/artifacts/report.html").content)
        console.print(f"\nReport: {report}", soft_wrap=True)
        console.print(f"Took {time.monotonic() - started:.0f} s")
        if sys.stdout.isatty() and sys.stdin.isatty():
            console.print(f"Page:   {service.url}/ stays open until Ctrl-C; its key: {service.key}", soft_wrap=True)
            with contextlib.suppress(KeyboardInterrupt):
                service.process.wait()
        return 0 if is_inside else 1
    finally:
        service.stop()


if __name__ == "__main__":
    sys.exit(main())
