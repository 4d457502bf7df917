"""schemathesis over the whole OpenAPI document, on SQLite and on PostgreSQL: no 5xx, no answer that is not declared."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from app.models import Checkpoint, Dataset, Device, Metric, PredictionPair, Profile
from app.settings import Settings

EXAMPLES = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BODY = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
# What a generator cannot guess: a file's name, bytes that end an upload, a host that has an address.
GUESSED = {
    "GET /v1/jobs/{job_id}/artifacts/{name}",
    "PATCH /v1/uploads/{upload_id}",
    "POST /v1/webhooks",
}
# Bodies of many fields, of which twelve guesses need not hold one that is accepted.
SOUND = {"POST /v1/plans": BODY, "POST /v1/jobs": BODY}
pytestmark = pytest.mark.slow


class Subject:
    """A running application with one of everything, and the ids of it."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.client = TestClient(self.app)
        self.client.__enter__()
        key = self.app.state.services.keys.create("team-a", "admin")
        self.headers = {"Authorization": f"Bearer {key}"}
        self.client.headers.update(self.headers)
        self.ids = self._fill()
        self._turn = itertools.count()
        self.seen: dict[str, Counter[int]] = {}
        config = schemathesis.Config.from_dict({"generation": {"max-examples": EXAMPLES}})
        self.schema = schemathesis.openapi.from_asgi("/openapi.json", self._serve, config=config)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """The application without its start and end: schemathesis would start it a second time."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})

    def _fill(self) -> dict[str, str]:
        post = self.client.post
        job = post("/v1/jobs", json=BODY).json()["id"]
        upload = post("/v1/datasets", json={"name": "d", "source": {"kind": "upload", "size": 9}}).json()
        ids = {
            "job_id": job,
            "plan_id": post("/v1/plans", json=BODY).json()["id"],
            "upload_id": upload["upload"]["id"],
            "team_id": self.client.get("/v1/teams").json()["items"][0]["id"],
            "webhook_id": post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"}).json()["id"],
            "fingerprint": "f" * 16,
            "dataset_id": "ds_ready",
            "device_id": "dev_1",
            "name": "vit_tiny_patch16_224",
        }
        with self.app.state.database.transaction() as session:
            session.add(Profile(fingerprint=ids["fingerprint"], device="cpu", document={"sites": []}))
            session.add(
                Dataset(id="ds_ready", team_id=ids["team_id"], name="r", source={"kind": "hub"}, status="ready")
            )
            session.add(Device(id="dev_1", worker="w", kind="cpu", name="cpu", capacity_bytes=2**33))
            session.add(Checkpoint(job_id=job, attempt_epoch=1, step=3, path="p", num_bytes=1, sha256="0" * 64))
            session.add(Metric(job_id=job, name="step.loss", step=1, value=0.5))
            pair = {"model": "m", "adapter": "bias", "device": "cpu", "precision": "fp32", "source": "s"}
            session.add(PredictionPair(predicted_bytes=100, measured_bytes=101, **pair))
        return ids

    def renew(self, label: str) -> None:
        """Things that operations end or remove, made again for the next operation."""
        post = self.client.post
        self.ids["job_id"] = post("/v1/jobs", json=BODY).json()["id"]
        if label.endswith("/resume"):
            post(f"/v1/jobs/{self.ids['job_id']}/pause")
        self.ids["key_id"] = post("/v1/keys", json={"team": "b"}).json()["id"]
        self.ids["webhook_id"] = post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"}).json()["id"]

    def check(self, case: Any) -> None:
        """Send a case, every other one with ids of things that exist or a sound body, and check the answer."""
        if next(self._turn) % 2:
            for name in case.path_parameters if isinstance(case.path_parameters, dict) else ():
                case.path_parameters[name] = self.ids.get(name, case.path_parameters[name])
            if case.operation.label in SOUND:
                case.body = dict(SOUND[case.operation.label])
        answer = case.call_and_validate(headers=self.headers, checks=CHECKS)
        self.seen.setdefault(case.operation.label, Counter())[answer.status_code] += 1

    def close(self) -> None:
        self.client.__exit__(None, None, None)


def start(folder: Path, url: str) -> Subject:
    return Subject(
        Settings(
            data_dir=folder,
            database_url=url,
            run_scheduler=False,
            run_workers=False,
            rate_per_s=0,
            allow_private_webhooks=True,
        )
    )


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    subject = start(tmp_path_factory.mktemp("contract"), "")
    yield subject
    subject.close()


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres_server: Any) -> Iterator[Subject]:
    postgres_server.psql("create database contract;")
    url = str(postgres_server.get_uri(database="contract")).replace("postgresql://", "postgresql+psycopg://")
    subject = start(tmp_path_factory.mktemp("contract"), url)
    yield subject
    subject.close()


bounded = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def explore(subject: Subject) -> None:
    """Every operation with sound and with unsound input; what was wrong with any of them is told at the end."""
    wrong: list[str] = []

    def run(operation: Any, mode: GenerationMode) -> None:
        @bounded
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers_as_declared(case: Any) -> None:
            subject.check(case)

        try:
            answers_as_declared()
        except (AssertionError, BaseExceptionGroup) as error:
            wrong.append(f"{operation.label} ({mode.name.lower()}): {error}")
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label  # nothing can be wrong about this input

    for found in subject.schema.get_all_operations():
        subject.renew(found.ok().label)
        for mode in GenerationMode:
            run(found.ok(), mode)
    assert not wrong, "\n\n".join(wrong)
    never = [label for label, statuses in subject.seen.items() if not any(status < 400 for status in statuses)]
    assert len(subject.seen) >= 45
    assert set(never) <= GUESSED, f"no input was accepted by {never}"


def test_every_operation_answers_as_declared_on_sqlite(on_sqlite: Subject) -> None:
    explore(on_sqlite)


def test_every_operation_answers_as_declared_on_postgresql(on_postgres: Subject) -> None:
    explore(on_postgres)
