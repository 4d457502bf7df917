"""Every text field of the API with text that breaks databases, encoders or screens: no 5xx, every list can be read."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.main import create_app
from app.settings import Settings

UNSTORABLE = ("\ud800", "a\0b")
STRANGE = ("\u202eabc\u202c", "e\u0301" * 40, "x" * 10**6, "\U0001f600", "\x01\x7f", " ", "%00", "../..")
ADDRESS = 4000  # characters; servers take 64 KiB of an address and its headers
BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/jobs": {"model": "s2a_tiny", "data": "digits", "budget": "64MiB", "metadata": {"a": "b"}, "name": "n"},
    "POST /v1/plans": {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"},
    "POST /v1/datasets": {"name": "d", "source": {"kind": "hub", "source": "hf:a/b"}},
    "POST /v1/keys": {"team": "b", "name": "n"},
    "POST /v1/teams": {"name": "b"},
    "PATCH /v1/teams/{team_id}": {"weight": 1.0},
    "POST /v1/webhooks": {"url": "http://127.0.0.1:9/"},
}
FORMS = {
    "/jobs": {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"},
    "/plans": {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"},
    "/datasets": {"name": "d", "source": "hf:a/b"},
    "/keys": {"team": "b", "name": "n"},
}
pytestmark = pytest.mark.slow


@pytest.fixture
def open_service(tmp_path: Path, database_url: str) -> Iterator[TestClient]:
    chosen = {"rate_per_s": 0, "allow_private_webhooks": True, "run_scheduler": False, "run_workers": False}
    app = create_app(Settings(data_dir=tmp_path, database_url=database_url, **chosen))
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {app.state.services.keys.create('team-a', 'admin')}"
        yield client


def paths_of(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/openapi.json").json()["paths"])


def fields(schema: dict[str, Any], schemas: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The place of every value that may be text, in a body of this schema."""
    if "$ref" in schema:
        yield from fields(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas, place)
    for part in schema.get("anyOf", []) + schema.get("oneOf", []):
        yield from fields(part, schemas, place)
    if schema.get("type") == "string":
        yield place
    for name, part in schema.get("properties", {}).items():
        yield from fields(part, schemas, (*place, name))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields(schema["additionalProperties"], schemas, (*place, "a"))
    if "items" in schema:
        yield from fields(schema["items"], schemas, place)


def put(body: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(body)
    inner = made
    for name in place[:-1]:
        if not isinstance(inner.get(name), dict):
            inner[name] = {}
        inner = inner[name]
    inner[place[-1]] = value
    return made


def check_lists(client: TestClient, after: str) -> None:
    for path, methods in paths_of(client).items():
        if "get" in methods and "{" not in path:
            assert client.get(path).status_code == 200, f"{path} after {after}"


def check(answer: Any, value: str, what: str) -> None:
    assert answer.status_code < 500, f"{what} with {value[:9]!r}: {answer.status_code} {answer.text[:300]}"
    if value in UNSTORABLE:
        assert answer.status_code == 422, f"{what} with {value!r}: {answer.status_code}"


def test_every_text_of_every_body(open_service: TestClient) -> None:
    document = open_service.get("/openapi.json").json()
    schemas, tried = document["components"]["schemas"], set()
    for label, body in BODIES.items():
        method, path = label.split(" ")
        operation = document["paths"][path][method.lower()]
        team = open_service.get("/v1/teams").json()["items"][0]["id"]
        url = path.replace("{team_id}", team)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        places = {place for place in fields(schema, schemas) if place} | {("\ud800",), ("unknown",)}
        for place in sorted(places):
            for value in (*UNSTORABLE, *STRANGE):
                for given in (put(body, place, value), put(body, (*place[:-1], value), "x")):
                    sent = json.dumps(given)  # as escapes: UTF-8 has no half surrogate pairs
                    answer = open_service.request(
                        method, url, content=sent, headers={"Content-Type": "application/json"}
                    )
                    check(answer, value, f"{label} {place}")
            tried.add((label, place))
        check_lists(open_service, label)
    declared = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert declared == set(BODIES)
    assert len(tried) > 30


def test_every_text_of_every_address_and_header(open_service: TestClient) -> None:
    tried = 0
    for path, methods in paths_of(open_service).items():
        for method, operation in methods.items():
            label = f"{method.upper()} {path}"
            content = {"json": BODIES[label]} if label in BODIES else {}
            for parameter in operation.get("parameters", []):
                for value in ("a\0b", *STRANGE):
                    name, place = parameter["name"], parameter["in"]
                    given, url = value[:ADDRESS], path
                    if place == "path":
                        url = url.replace(f"{{{name}}}", quote(given, safe=""))
                    url = url.replace("{", "").replace("}", "")
                    params = {name: given} if place == "query" else {}
                    headers = {name: given.encode()} if place == "header" else {}
                    answer = open_service.request(method, url, params=params, headers=headers, **content)
                    check(answer, value, f"{label} {place} {name}")
                    tried += 1
    check_lists(open_service, "addresses")
    assert tried > 500


def test_names_of_headers_queries_and_files(open_service: TestClient) -> None:
    for value in ("a\0b", *STRANGE[:4]):
        check(open_service.get("/v1/jobs", params={value[:ADDRESS]: "x"}), value, "a query's name")
        check(open_service.get("/v1/jobs", headers={"X-Any": value.encode()[:ADDRESS]}), value, "a header")
        key = {"Authorization": f"Bearer s2a_{value[:99]}_x".encode()}
        cookie = {"Authorization": b"", "Cookie": b"s2a_session=" + value.encode()[:ADDRESS]}
        for headers in (key, cookie):
            check(open_service.get("/v1/jobs", headers=headers), "", "a key or a cookie")
        sent = open_service.post("/v1/jobs", files={value: (value, b"x")})
        assert 400 <= sent.status_code < 500
        signed_in = open_service.post("/sign-in", files={value: (value, b"x")}, data={value: value, "key": value})
        assert 400 <= signed_in.status_code < 500
    check_lists(open_service, "names")


def test_every_field_of_every_form(open_service: TestClient) -> None:
    state = open_service.app.state  # type: ignore[attr-defined]
    token = state.services.sessions.begin(open_service.headers["Authorization"].removeprefix("Bearer "))
    csrf = state.services.sessions.csrf(token)
    open_service.cookies.set("s2a_session", token)
    for path, form in FORMS.items():
        for name in (*form, "objective", "priority", "next", "any"):
            for value in ("a\0b", *STRANGE):
                answer = open_service.post(path, data={**form, name: value, "csrf": csrf}, follow_redirects=False)
                check(answer, value, f"{path} {name}")
        for page in FORMS:
            assert open_service.get(page).status_code == 200
    check_lists(open_service, "forms")


def test_rows_that_are_broken_already_can_be_listed(open_service: TestClient) -> None:
    """As versions of before texts were checked left them."""
    job = open_service.post("/v1/jobs", json=BODIES["POST /v1/jobs"]).json()["id"]
    plan = open_service.post("/v1/plans", json=BODIES["POST /v1/plans"]).json()["id"]
    dataset = open_service.post("/v1/datasets", json=BODIES["POST /v1/datasets"]).json()["id"]
    database = open_service.app.state.database  # type: ignore[attr-defined]
    broken = '{"model": "s2a_tiny", "adapter": "\\ud800", "data": "digits", "budget_bytes": 9, "kind": "hub"}'
    with database.engine.begin() as connection:
        for table, column, row in (
            ("jobs", "request", job),
            ("jobs", "metadata", job),
            ("jobs", "report", job),
            ("plans", "request", plan),
            ("datasets", "source", dataset),
            ("datasets", "summary", dataset),
        ):
            connection.execute(
                text(f"update {table} set {column} = :value where id = :row"), {"value": broken, "row": row}
            )
        details = text("update audit_log set details = :value")
        connection.execute(details, {"value": broken})
    check_lists(open_service, "broken rows")
    assert open_service.get(f"/v1/jobs/{job}").json()["request"]["adapter"] == "\\ud800"
    for url in (f"/v1/plans/{plan}", f"/v1/datasets/{dataset}", f"/v1/jobs/{job}/events"):
        assert open_service.get(url).status_code == 200
    token = open_service.app.state.services.sessions.begin(  # type: ignore[attr-defined]
        open_service.headers["Authorization"].removeprefix("Bearer ")
    )
    open_service.cookies.set("s2a_session", token)
    for page in ("/", "/jobs", f"/jobs/{job}", "/plans", f"/plans/{plan}", "/datasets"):
        assert open_service.get(page).status_code == 200, page
