"""The client: pages become one list, problems exceptions, what makes something is made once."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from app.client import Client, Unreachable
from app.client.errors import ProblemError
from app.errors import NotFound, WrongState
from s2a_core.errors import InvalidInput

KEY = "s2a_0_0"


def client_of(service: httpx.BaseTransport) -> Client:
    return Client("http://s", KEY, service)


def test_every_page_is_listed_and_events_end_with_the_job() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/jobs":
            is_second = "after" in request.url.params
            return httpx.Response(200, json={"items": [{"id": str(is_second)}], "next": None if is_second else "a"})
        assert request.headers["last-event-id"] == "0"
        return httpx.Response(200, text='id: 1\nevent: queued\ndata: {"seq": 1}\n\nevent: end\ndata: {}\n\n')

    with client_of(httpx.MockTransport(service)) as client:
        assert [job["id"] for job in client.jobs()] == ["False", "True"]
        assert list(client.events("j")) == [{"seq": 1}]


def test_a_silent_service_is_unreachable_and_a_wrong_address_or_key_is_said_at_once() -> None:
    def silent(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable, match="is `s2a serve` running"):
        client_of(httpx.MockTransport(silent)).submit(model="m")
    with pytest.raises(InvalidInput, match="begins with http"):
        Client("localhost:8000", KEY)
    with pytest.raises(InvalidInput, match="without spaces"):
        Client("http://s", "s2a key")


def test_an_address_of_something_else_is_said() -> None:
    with pytest.raises(InvalidInput, match="no address of a service"):
        Client("http://[::1", KEY)
    for content in (b"<html>", b"3", b""):
        page = httpx.MockTransport(lambda _, content=content: httpx.Response(200, content=content))
        with pytest.raises(ProblemError, match="http://s/v1/jobs/j is no address of s2a's API"):
            client_of(page).job("j")


def test_an_empty_file_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.zip").touch()
    with pytest.raises(InvalidInput, match=r"empty\.zip is empty: give a zip"):
        client_of(httpx.MockTransport(lambda _: httpx.Response(500))).upload(tmp_path / "empty.zip")


def test_a_lost_answer_is_asked_for_again_with_the_same_idempotency_key() -> None:
    seen: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["idempotency-key"])
        if len(seen) == 1:
            raise httpx.ReadError("cut off")
        return httpx.Response(201, json={"id": "job_1"})

    assert client_of(httpx.MockTransport(service)).submit(model="m", name=None)["id"] == "job_1"
    assert len(set(seen)) == 1


def test_the_whole_client_against_the_real_service(
    service: TestClient, transport: httpx.MockTransport, tmp_path: Path
) -> None:
    key = service.headers["Authorization"].split()[1]
    with Client("http://testserver", key, transport) as client:
        job = client.submit(model="s2a_tiny", data="digits", budget="64MiB", name="one")
        assert client.job(job["id"])["name"] == "one"
        assert [j["id"] for j in client.jobs("queued")] == [job["id"]]
        assert client.pause(job["id"])["status"] == "paused"
        assert client.resume(job["id"])["status"] == "queued"
        assert client.cancel(job["id"])["status"] == "cancelled"
        assert client.wait(job["id"])["status"] == "cancelled"
        with pytest.raises(WrongState, match="has ended"):
            client.cancel(job["id"])
        with pytest.raises(NotFound, match="no job job_x"):
            client.job("job_x")
        with pytest.raises(NotFound):
            client.artifact(job["id"], "adapter.safetensors")
        assert client.artifacts(job["id"]) == client.attempts(job["id"]) == []
        assert client.metrics(job["id"])["series"] == {}
        plan = client.plan(model="s2a_tiny", data="digits", budget="64MiB")
        assert client.get_plan(plan["id"])["status"] == "queued"
        assert [p["id"] for p in client.plans()] == [plan["id"]]
        archive = tmp_path / "photos.zip"
        archive.write_bytes(b"PK" + bytes(1000))
        sent: list[tuple[int, int]] = []
        made = client.upload(archive, progress=lambda at, size: sent.append((at, size)))
        assert made["status"] == "validating"
        assert sent[-1] == (1002, 1002)
        with pytest.raises(InvalidInput, match="does not wait"):
            client.upload(archive, dataset_id=made["id"])
        with pytest.raises(InvalidInput, match="is not a file"):
            client.upload(tmp_path)
        assert client.add_dataset("here", str(tmp_path))["name"] == "here"
        assert len(list(client.datasets())) == 2
        client.remove_dataset(made["id"])
        assert client.predictions()["distribution"]["count"] == 0
        assert list(client.devices()) == client.queue()["devices"] == []
        assert next(client.models("vit"))["name"].startswith("vit")
        new = client.create_key("team-b", ["read"], "reader")
        assert client.me()["scopes"] == ["admin"]
        client.revoke_key(new["id"])
        assert any(k["revoked_at"] for k in list(client.keys()))


def test_requests_leave_out_what_was_not_said() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"model": "m"}
        return httpx.Response(202, json={"id": "plan_1"})

    assert client_of(httpx.MockTransport(service)).plan(model="m", data=None)["id"] == "plan_1"
