"""Event streams over a real socket: nothing is lost or repeated however often a client is cut off; they end in time."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings
from app.store import jobs

NUM_EVENTS = 400
NUM_CUTS = 50


class Served:
    """An application behind uvicorn in a thread."""

    def __init__(self, app: FastAPI) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.app = app
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="warning", lifespan="on"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 30
        while not self.server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        key = app.state.services.keys.create("team-a", "admin")
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Bearer {key}"}, timeout=20
        )

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(30)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(create_app(Settings(data_dir=tmp_path, run_scheduler=False, run_workers=False, stream_heartbeat_s=1)))
    yield made
    made.app.state.services.feed.close()
    made.stop()


def submit(served: Served) -> str:
    answer = served.client.post("/v1/jobs", json={"model": "s2a_tiny", "data": "digits", "budget": "64MiB"})
    return str(answer.json()["id"])


def speak(app: FastAPI, job_id: str) -> None:
    """Add the events of a run, in bursts, and end the job."""
    source = random.Random(1)
    for number in range(2, NUM_EVENTS):
        with app.state.database.transaction() as session:
            job = jobs.find(session, job_id)
            assert job is not None
            jobs.add_event(session, job, "step", {"step": number, "text": "é\nline " * source.randrange(40)})
        if source.random() < 0.1:
            time.sleep(source.random() * 0.05)
    app.state.services.jobs.cancel(_admin(app), job_id)


def _admin(app: FastAPI) -> Any:
    return app.state.services.keys.authenticate(app.state.services.keys.create("team-a", "admin"))


def read(served: Served, job_id: str, last: int, num_bytes: int | None) -> tuple[list[int], bool]:
    """(ids of whole events, whether the end came) of one connection that is cut after so many bytes."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
    text = b""
    with served.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_raw(64):
            text += chunk
            if num_bytes is not None and len(text) >= num_bytes:
                text = text[:num_bytes]
                break
    blocks = text.decode("utf-8", "ignore").split("\n\n")[:-1]
    ids = [int(line[4:]) for block in blocks for line in block.splitlines() if line.startswith("id: ")]
    return ids, any("event: end" in block.splitlines() for block in blocks)


@pytest.mark.slow
def test_a_client_that_is_cut_off_50_times_sees_every_event_once_and_in_order(served: Served) -> None:
    job_id = submit(served)
    speaker = threading.Thread(target=speak, args=(served.app, job_id))
    speaker.start()
    source = random.Random(7)
    seen: list[int] = []
    cuts, has_ended = 0, False
    while not has_ended:
        num_bytes = source.randrange(1, 4000) if cuts < NUM_CUTS else None
        ids, has_ended = read(served, job_id, seen[-1] if seen else 0, num_bytes)
        cuts += num_bytes is not None
        seen += ids
    speaker.join()
    assert cuts == NUM_CUTS
    assert seen == list(range(1, NUM_EVENTS + 1))


def test_a_stream_shows_signs_of_life_and_ends_when_the_service_stops(served: Served) -> None:
    job_id = submit(served)
    lines: list[str] = []
    with served.client.stream("GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as answer:
        for line in answer.iter_lines():
            lines.append(line)
            if line == ": alive" and not served.app.state.services.feed.is_closed:
                served.app.state.services.feed.close()
    assert ": alive" in lines
    assert ": the service stops: reconnect" in lines[-3:]
    assert "event: end" not in lines


def test_an_event_arrives_within_a_second(served: Served) -> None:
    job_id = submit(served)
    arrived: dict[str, float] = {}

    def listen() -> None:
        with served.client.stream(
            "GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}
        ) as answer:
            for line in answer.iter_lines():
                arrived.setdefault(line, time.monotonic())

    listener = threading.Thread(target=listen)
    listener.start()
    while "event: queued" not in arrived:
        time.sleep(0.01)
    time.sleep(0.3)
    sent = time.monotonic()
    served.client.post(f"/v1/jobs/{job_id}/cancel")
    listener.join(10)
    assert arrived["event: cancelled"] - sent < 1.5
    assert "event: end" in arrived


def test_a_stream_ends_when_its_key_is_revoked(served: Served) -> None:
    job_id = submit(served)
    keys = served.app.state.services.keys
    text = keys.create("team-a", "read")
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {text}"}
    lines: list[str] = []
    with served.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        for line in answer.iter_lines():
            if not lines:
                keys.revoke(_admin(served.app), text.split("_")[1])
            lines.append(line)
    assert ": the key was revoked or has expired" in lines[-3:]
    assert "event: end" not in lines
