"""The description of the API changes on purpose only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from s2a_core.adapters.spec import HELP as ADAPTER_HELP

SNAPSHOT = Path(__file__).with_name("openapi.json")


def described(service: TestClient) -> dict[str, Any]:
    document: dict[str, Any] = service.get("/openapi.json").json()
    document["info"].pop("version")
    return document


def test_the_description_is_the_one_that_was_agreed_on(service: TestClient) -> None:
    """After a change that is meant: delete tests/app/openapi.json, run this test, and look at what git shows.

    The list of adapters is the registry's, so that a new one changes no agreement.
    """
    text = json.dumps(described(service), indent=1, sort_keys=True).replace(ADAPTER_HELP, "ADAPTERS") + "\n"
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8")


def test_operation_ids_are_unique_words_and_every_problem_is_declared(service: TestClient) -> None:
    document = described(service)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(name.islower() and name.isidentifier() for name in ids)
    for operation in operations:
        assert operation["summary"]
        wanted = {"503"} if "system" in operation["tags"] else {"401", "422", "429", "503"}
        assert wanted <= set(operation["responses"]), operation["operationId"]
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert set(answer["content"]) == {"application/problem+json"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
