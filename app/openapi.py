"""The OpenAPI document: stable operation ids, the key as its security scheme, and problems as they are answered."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.schemas.fields import Problem

TAGS = [
    {"name": "jobs", "description": "Fine-tuning inside a memory budget: submit, watch, cancel, pause, resume."},
    {"name": "results", "description": "What a job leaves behind."},
    {"name": "plans", "description": "How a model would fit a budget, before anything is trained."},
    {"name": "datasets", "description": "Images: uploaded in parts, named on the service's machine, or from a hub."},
    {"name": "catalog", "description": "Models, devices, the queue, and how good predictions are."},
    {"name": "access", "description": "Keys, teams and the audit log."},
    {"name": "webhooks", "description": "Events sent to an address of the team."},
    {"name": "system", "description": "For whoever runs the service."},
]
DESCRIPTION = """\
Fine-tune any timm model inside a memory budget. Every error is a problem document (RFC 9457) with a stable `code`.
Lists answer `items` and `next`; send `next` back as `after`. What makes something takes an
`Idempotency-Key`, but for keys and webhooks, whose answers hold a secret and are not kept."""
# These need no key, and answer no common problem.
OPEN_TAG = "system"


def operation_id(route: APIRoute) -> str:
    """The endpoint's own name: unique, and part of the contract."""
    return route.name


def install(app: FastAPI, root_path: str = "") -> None:
    """Make `app.openapi()` answer the document; it is made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build(app, root_path)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def build(app: FastAPI, root_path: str = "") -> dict[str, Any]:
    """The document of an application's routes."""
    description = get_openapi(
        title="s2a",
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        servers=[{"url": root_path}] if root_path else None,
        separate_input_output_schemas=False,
    )
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key: `s2a_<id>_<secret>`."}
    }
    for operations in description["paths"].values():
        for operation in operations.values():
            if OPEN_TAG in operation.get("tags", []):
                operation["responses"] = {
                    status: answer for status, answer in operation["responses"].items() if status in ("200", "503")
                }
            else:
                operation["security"] = [{"key": []}]
    return description
