"""A service that is told to stop ends within seconds, whoever holds a connection to it."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.service import RunningService

pytestmark = pytest.mark.slow
DRAIN_S = 2
# What a client had sent when the service was told to stop.
HALVES = {
    "a body with a length": "POST /v1/jobs HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 1000\r\n\r\n{{",
    "a body in chunks": "POST /v1/jobs HTTP/1.1\r\nHost: a\r\n{key}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n",
    "an upload's part": "PUT /v1/uploads/up_1?offset=0 HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 1000\r\n\r\nPK",
    "a sign-in": "POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nkey=",
    "headers": "GET /livez HTTP/1.1\r\nHost:",
    "nothing": "",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    made = RunningService(tmp_path / "s2a", run_scheduler=False, drain_s=DRAIN_S)
    yield made.start()
    made.stop()


def stop(service: RunningService) -> float:
    """TERM; the seconds until the process has ended."""
    assert service.process is not None
    start = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(60)
    return time.monotonic() - start


def test_half_sent_requests_do_not_hold_the_service_back(service: RunningService) -> None:
    key = f"Authorization: Bearer {service.key}\r\n"
    clients = []
    for half in HALVES.values():
        client = socket.create_connection(("127.0.0.1", service.port))
        client.sendall(half.format(key=key).encode())
        clients.append(client)
    time.sleep(1)
    assert stop(service) < DRAIN_S + 13  # the loop's own end, on a busy machine
    for client in clients:
        client.settimeout(5)
        while client.recv(65536):
            pass
        client.close()


def test_an_open_stream_does_not_hold_the_service_back(service: RunningService) -> None:
    job = service.submit(model="s2a_tiny", data="digits", budget="64MiB")
    lines: list[str] = []

    def watch() -> None:
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {service.key}"}
        with httpx.stream("GET", f"{service.url}/v1/jobs/{job}/events", headers=headers, timeout=60) as answer:
            lines.extend(answer.iter_lines())

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(1)
    assert stop(service) < 15
    watcher.join(10)
    assert ": the service stops: reconnect" in lines
