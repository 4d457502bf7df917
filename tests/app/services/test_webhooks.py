"""Webhooks are signed, tried again, logged, and never sent to private addresses unless that is allowed."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.models import WebhookDelivery
from app.services import addresses
from app.services.webhooks import BACKOFF_S, Postman

PUBLIC = "93.184.216.34"


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port, allow_private: PUBLIC)


def postman(service: TestClient, answers: list[int], sent: list[httpx.Request]) -> Postman:
    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(answers.pop(0))

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return Postman(service.app.state.database, allow_private=False, client=client)  # type: ignore[attr-defined]


def test_an_event_is_sent_signed_to_the_address_that_was_checked(
    service: TestClient, public: None, submit: Any
) -> None:
    made = service.post("/v1/webhooks", json={"url": "https://example.org/hook?a=b", "events": ["queued"]}).json()
    job = submit()
    service.post(f"/v1/jobs/{job}/cancel")
    sent: list[httpx.Request] = []
    assert postman(service, [204], sent).deliver() == 1
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
    man = postman(service, [500, 301, *[503] * tries], [])
    for number in range(1, tries + 1):
        assert man.deliver() == 1
        assert man.deliver() == 0, "the next try waits"
        with database.transaction() as session:
            session.execute(update(WebhookDelivery).where(WebhookDelivery.next_at.is_not(None)).values(next_at=0))
        log = service.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
        assert len(log) == min(number + 1, tries)
    assert man.deliver() == 0
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
    postman(service, [], sent).deliver()
    assert sent == []
    log = service.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
    assert "not on the public internet" in log[-1]["error"]
