"""A service that is told to stop does so within seconds, also while somebody watches a job."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest


@pytest.mark.slow
def test_an_open_stream_does_not_hold_the_service_back(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "S2A_DATA_DIR": str(tmp_path), "S2A_RUN_SCHEDULER": "false"}
    command = [sys.executable, "-c", "from app.cli.main import app; app()", "serve", "--port", str(port)]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        key = None
        while key is None or "s2a on" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            key = re.search(r"s2a_[0-9a-f]+_[0-9a-f]+", log.read_text())
            time.sleep(0.1)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key[0]}"})
        while True:
            try:
                client.get("/readyz").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        body = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
        job = client.post("/v1/jobs", json=body).json()["id"]
        lines: list[str] = []

        def watch() -> None:
            headers = {"Accept": "text/event-stream"}
            with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers, timeout=60) as answer:
                lines.extend(answer.iter_lines())

        watcher = threading.Thread(target=watch)
        watcher.start()
        time.sleep(1)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        watcher.join(10)
        assert time.monotonic() - start < 15
        assert ": the service stops: reconnect" in lines
    finally:
        process.kill()
        process.wait()
