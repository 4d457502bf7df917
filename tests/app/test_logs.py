"""Logs are one JSON line per event, and hold no secret."""

from __future__ import annotations

import io
import json

import structlog
from fastapi.testclient import TestClient

from app import logs


def test_secrets_do_not_get_through() -> None:
    stream = io.StringIO()
    logs.configure(as_json=True, stream=stream)
    log = structlog.get_logger("test")
    log.info("call", token="abc", url="postgresql://user:pass@host/db", header="Bearer xyz", key_id="k1")
    log.info("key s2a_0123abcd_0123456789abcdef in a text")
    logs.configure(as_json=True)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["token"], first["header"], first["key_id"]) == ("***", "Bearer ***", "k1")
    assert first["url"] == "postgresql://***@host/db"
    assert second["event"] == "key s2a_0123abcd_*** in a text"


def test_a_request_is_one_line_without_its_key(service: TestClient) -> None:
    stream = io.StringIO()
    logs.configure(as_json=True, stream=stream)
    answer = service.get("/v1/jobs?limit=3")
    service.get("/livez")
    logs.configure(as_json=True)
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/jobs", 200)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert str(service.headers["authorization"]).split("_")[1] == line["key_id"]
    assert str(service.headers["authorization"]).split("_")[2] not in stream.getvalue()
