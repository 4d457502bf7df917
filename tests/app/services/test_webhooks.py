"""Webhooks are signed, tried again, logged, and never sent to private addresses unless that is allowed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.models import WebhookDelivery
from app.services import addresses
from app.services.webhooks import BACKOFF_S, DeliveryWorker

PUBLIC = "93.184.216.34"


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port, allow_private: PUBLIC)


def worker(service: TestClient, answers: list[int], sent: list[httpx.Request]) -> DeliveryWorker:
    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(answers.pop(0))

    return worker_to(service, answer)


def worker_to(service: TestClient, answer: Callable[[httpx.Request], Any] | None) -> DeliveryWorker:
    transport = httpx.MockTransport(answer) if answer else None
    return DeliveryWorker(
        service.app.state.database, service.app.state.services.webhooks.sealer, allow_private=False, transport=transport
    )  # type: ignore[attr-defined]


def test_an_event_is_sent_signed_to_the_address_that_was_checked(
    service: TestClient, public: None, submit: Any
) -> None:
    made = service.post("/v1/webhooks", json={"url": "https://example.org/hook?a=b", "events": ["queued"]}).json()
    job = submit()
    service.post(f"/v1/jobs/{job}/cancel")
    sent: list[httpx.Request] = []
    assert worker(service, [204], sent).deliver() == 1
    (request,) = sent
    assert str(request.url) == f"https://{PUBLIC}/hook?a=b"
    assert (request.headers["host"], request.extensions["sni_hostname"]) == ("example.org", "example.org")
    body = json.loads(request.content)
    assert (body["event"], body["job_id"], body["seq"]) == ("queued", job, 1)
    at, _, mac = request.headers["s2a-signature"].removeprefix("t=").partition(",v1=")
    wanted = hmac.new(made["secret"].encode(), f"{at}.".encode() + request.content, hashlib.sha256).hexdigest()
    assert mac == wanted
    log = service.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
    assert [(line["attempt"], line["status_code"], line["next_at"]) for line in log] == [(1, 204, None)]
    assert "secret" not in service.get(f"/v1/webhooks/{made['id']}").json()


def test_a_delivery_that_fails_is_tried_again_and_given_up_in_the_end(
    service: TestClient, public: None, submit: Any
) -> None:
    made = service.post("/v1/webhooks", json={"url": "https://example.org/", "events": ["queued"]}).json()
    submit()
    database = service.app.state.database  # type: ignore[attr-defined]
    tries = len(BACKOFF_S) + 1
    deliveries = worker(service, [500, 301, *[503] * tries], [])
    for number in range(1, tries + 1):
        assert deliveries.deliver() == 1
        assert deliveries.deliver() == 0, "the next try waits"
        with database.transaction() as session:
            session.execute(update(WebhookDelivery).where(WebhookDelivery.next_at.is_not(None)).values(next_at=0))
        log = service.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
        assert len(log) == min(number + 1, tries)
    assert deliveries.deliver() == 0
    assert [line["error"] for line in log][-2:] == ["answered 301", "answered 500"]
    assert service.delete(f"/v1/webhooks/{made['id']}").status_code == 204


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://[::1]/", "http://169.254.169.254/latest", "http://localhost/"]
)
def test_a_private_address_is_refused(service: TestClient, url: str) -> None:
    answer = service.post("/v1/webhooks", json={"url": url})
    assert answer.status_code == 422
    assert "not on the public internet" in answer.json()["title"]


def test_a_name_that_becomes_private_later_is_not_called(
    service: TestClient, public: None, submit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = service.post("/v1/webhooks", json={"url": "http://example.org/", "events": ["queued"]}).json()
    submit()
    monkeypatch.undo()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("10.0.0.1", 80))])
    sent: list[httpx.Request] = []
    worker(service, [], sent).deliver()
    assert sent == []
    log = service.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
    assert "not on the public internet" in log[-1]["error"]


def test_a_silent_webhook_holds_up_no_other_and_each_gets_its_events_in_order(
    service: TestClient, public: None, submit: Any
) -> None:
    wanted = {"events": ["queued", "cancelled"]}
    for name in ("silent", "quick"):
        service.post("/v1/webhooks", json={"url": f"https://{name}.example.org/", **wanted})
    for _ in range(3):
        service.post(f"/v1/jobs/{submit()}/cancel")
    heard: dict[str, list[tuple[str, int]]] = {"silent.example.org": [], "quick.example.org": []}
    may_answer = threading.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        heard[request.headers["host"]].append((body["job_id"], body["seq"]))
        while request.headers["host"].startswith("silent") and not may_answer.is_set():
            await asyncio.sleep(0.01)
        return httpx.Response(204)

    deliveries = worker_to(service, answer)
    deadline = time.monotonic() + 10
    while len(heard["quick.example.org"]) < 6 and time.monotonic() < deadline:
        deliveries.deliver()
    jobs = list(dict(heard["quick.example.org"]))
    assert heard["quick.example.org"] == [(job, seq) for job in jobs for seq in (1, 2)]
    assert len(jobs) == 3
    assert heard["silent.example.org"] == heard["quick.example.org"][:1]
    may_answer.set()
    deliveries.close()


def test_an_answer_that_comes_byte_by_byte_has_a_deadline(
    service: TestClient, submit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port, allow_private: "127.0.0.1")
    monkeypatch.setattr("app.services.webhooks.TIMEOUT_S", 1.0)
    has_ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not has_ended.wait(0.1):
                connection.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://slow.example.org:{listener.getsockname()[1]}/"
        made = service.post("/v1/webhooks", json={"url": url, "events": ["queued"]}).json()
        submit()
        deliveries = worker_to(service, None)
        assert deliveries.deliver() == 1
        deliveries.close()
        has_ended.set()
        thread.join()
    log = service.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
    assert [(line["attempt"], line["error"]) for line in log] == [(2, None), (1, "no answer within 1 s")]


def test_a_try_that_a_library_refuses_is_counted(service: TestClient, public: None, submit: Any) -> None:
    """Otherwise it would be tried every minute for ever."""
    made = service.post("/v1/webhooks", json={"url": "https://example.org/", "events": ["queued"]}).json()
    submit()

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.InvalidURL("no URL of mine")

    deliveries = worker_to(service, refuse)
    deliveries.deliver()
    deliveries.close()
    log = service.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
    assert [(line["attempt"], line["error"]) for line in log] == [(2, None), (1, "InvalidURL: no URL of mine")]
