"""Another team's things do not exist: every route is walked with another team's key, or another attempt's token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.models import Checkpoint, Metric, PredictionPair
from app.queue.scheduler import Scheduler
from app.services.jobs import job_folder
from app.store import jobs

BODY = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
# Of nobody in particular: what they answer says nothing of a team.
SHARED = {"/v1/profiles/{fingerprint}", "/v1/models/{name}", "/v1/devices/{device_id}"}
BODIES: dict[str, dict[str, Any]] = {
    "PATCH /v1/uploads/{upload_id}": {"content": b"x", "headers": {"Upload-Offset": "0"}},
}
ADMIN_ONLY = {"DELETE /v1/keys/{key_id}", "PATCH /v1/teams/{team_id}"}


@pytest.fixture
def theirs(service: TestClient) -> dict[str, str]:
    """Ids of everything that team a has."""
    key = service.post("/v1/keys", json={"team": "a"}).json()
    headers = {"Authorization": f"Bearer {key['key']}"}
    job = service.post("/v1/jobs", json=BODY, headers=headers).json()["id"]
    upload = {"name": "d", "source": {"kind": "upload", "size": 9}}
    dataset = service.post("/v1/datasets", json=upload, headers=headers).json()
    ids = {
        "job_id": job,
        "plan_id": service.post("/v1/plans", json=BODY, headers=headers).json()["id"],
        "dataset_id": dataset["id"],
        "upload_id": dataset["upload"]["id"],
        "key_id": key["id"],
        "team_id": service.get("/v1/teams", headers=headers).json()["items"][0]["id"],
        "webhook_id": _webhook(service, headers),
        "name": "plan.json",
        "secret": key["key"],
        "model": "their_model",
        "adapter": "their_adapter",
    }
    state = service.app.state  # type: ignore[attr-defined]
    folder = job_folder(state.services.results.data_dir, job) / "artifacts"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    with state.database.transaction() as session:
        jobs.put_artifact(session, job, "plan.json", 2, "0" * 64)
        session.add(Checkpoint(job_id=job, attempt_epoch=1, step=3, path="p", num_bytes=1, sha256="0" * 64))
        pair = {"model": "their_model", "adapter": "their_adapter", "device": "cpu", "precision": "fp32", "source": job}
        session.add(PredictionPair(predicted_bytes=100, measured_bytes=101, **pair))
        session.add(Metric(job_id=job, name="step.loss", step=1, value=0.5))
    return ids


def _webhook(service: TestClient, headers: dict[str, str]) -> str:
    webhooks = service.app.state.services.webhooks  # type: ignore[attr-defined]
    webhooks.allow_private = True
    made = service.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"}, headers=headers)
    webhooks.allow_private = False
    return str(made.json()["id"])


def routes(service: TestClient) -> list[tuple[str, str]]:
    paths = service.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_no_route_shows_or_changes_another_teams_things(service: TestClient, theirs: dict[str, str]) -> None:
    made = service.post("/v1/keys", json={"team": "b"}).json()
    other = {"Authorization": f"Bearer {made['key']}"}
    walked = []
    for method, path in routes(service):
        if "{" not in path or path in SHARED:
            continue
        url = re.sub(r"\{(\w+)\}", lambda found: theirs[found[1]], path)
        sent = dict(BODIES.get(f"{method} {path}", {}))
        headers = {**other, **sent.pop("headers", {})}
        nobody = service.request(method, re.sub(r"\{(\w+)\}", "job_none", path), headers=headers, **sent)
        answer = service.request(method, url, headers=headers, **sent)
        wanted = 403 if f"{method} {path}" in ADMIN_ONLY else 404
        assert answer.status_code == wanted, f"{method} {path}: {answer.status_code}"
        # The same words as for what does not exist at all: nothing can be guessed from them.
        words = [a.json()["title"].replace(i, "") for a, i in ((answer, url), (nobody, "job_none"))]
        for value in theirs.values():
            words[0] = words[0].replace(value, "")
        assert words[0] == words[1]
        assert answer.json()["code"] == nobody.json()["code"]
        walked.append(f"{method} {path}")
    assert len(walked) >= 22
    assert service.get(f"/v1/jobs/{theirs['job_id']}").json()["status"] == "queued"


def test_no_list_holds_another_teams_things(service: TestClient, theirs: dict[str, str]) -> None:
    made = service.post("/v1/keys", json={"team": "b"}).json()
    other = {"Authorization": f"Bearer {made['key']}"}
    lists = [path for method, path in routes(service) if method == "GET" and "{" not in path and "/v1/" in path]
    assert len(lists) >= 12
    for path in lists:
        answer = service.get(path, headers=other)
        assert answer.status_code in (200, 403), path
        found = [name for name, value in theirs.items() if name != "name" and value in answer.text]
        assert not found, f"{path} tells {found}"


def test_how_good_predictions_were_is_told_to_whose_jobs_they_were(service: TestClient, theirs: dict[str, str]) -> None:
    other = {"Authorization": f"Bearer {service.post('/v1/keys', json={'team': 'b'}).json()['key']}"}
    own = {"Authorization": f"Bearer {theirs['secret']}"}
    for params in ({}, {"model": "their_model"}):
        assert service.get("/v1/accuracy", params=params, headers=other).json()["distribution"] == {"count": 0}
        for headers in (own, {}):
            assert service.get("/v1/accuracy", params=params, headers=headers).json()["distribution"]["count"] == 1


def test_a_job_cannot_be_made_from_another_teams_plan_or_dataset(service: TestClient, theirs: dict[str, str]) -> None:
    key = service.post("/v1/keys", json={"team": "b"}).json()["key"]
    other = {"Authorization": f"Bearer {key}"}
    assert service.post("/v1/jobs", json={"plan": theirs["plan_id"]}, headers=other).status_code == 404
    stolen = {**BODY, "data": theirs["dataset_id"]}
    assert service.post("/v1/jobs", json=stolen, headers=other).status_code == 404
    assert service.post("/v1/plans", json=stolen, headers=other).status_code == 404


def test_a_key_that_only_reads_changes_nothing(service: TestClient) -> None:
    made = service.post("/v1/keys", json={"team": "a", "scopes": ["read"]}).json()
    only = {"Authorization": f"Bearer {made['key']}"}
    for method, path in routes(service):
        if method == "GET" or path.startswith("/v1/keys/"):
            continue
        answer = service.request(method, path.replace("{", "").replace("}", ""), headers=only)
        assert answer.status_code == 403, f"{method} {path}: {answer.status_code}"
    assert service.get("/v1/jobs", headers=only).status_code == 200


def test_a_runners_token_reaches_its_own_attempt_only(service: TestClient, scheduler: Scheduler, executor: Any) -> None:
    for _ in range(2):
        service.post("/v1/jobs", json={**BODY, "budget": "1MiB"})
    scheduler.tick()
    first, second = executor.launched[:2]
    stolen = {"Authorization": f"Bearer {first['token']}"}
    url = f"/v1/runner/attempts/{second['attempt']}"
    calls = [
        ("GET", "request", {}),
        ("POST", "heartbeat", {}),
        ("POST", "events", {"json": {"first": 0, "events": []}}),
        ("PUT", "artifacts/plan.json", {"content": b"{}"}),
        ("POST", "state", {"json": {"status": "failed"}}),
    ]
    for method, path, content in calls:
        assert service.request(method, f"{url}/{path}", headers=stolen, **content).status_code in (403, 404), path
        assert service.request(method, f"{url}/{path}", **content).status_code in (403, 404), path
    own = f"/v1/runner/attempts/{first['attempt']}/heartbeat"
    assert service.post(own, headers=stolen).status_code == 200
    # A runner's token opens nothing else of the service.
    for method, path in routes(service):
        if path.startswith("/v1/"):
            answer = service.request(method, path.replace("{", "").replace("}", ""), headers=stolen)
            assert answer.status_code == 401, f"{method} {path}"


def test_data_on_the_services_machine_is_named_by_admins_or_under_allowed_roots(
    service: TestClient, tmp_path: Path
) -> None:
    key = service.post("/v1/keys", json={"team": "b"}).json()["key"]
    other = {"Authorization": f"Bearer {key}"}
    for data in (str(tmp_path), "/etc/passwd", "/no/such/place"):
        answer = service.post("/v1/jobs", json={**BODY, "data": data}, headers=other)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
        assert service.post("/v1/jobs", json={**BODY, "weights": data}, headers=other).status_code == 403
    for data in ("../x", "a/../../etc", "~/x", "x/y/z"):
        assert service.post("/v1/jobs", json={**BODY, "data": data}, headers=other).status_code == 422
    assert service.post("/v1/jobs", json={**BODY, "data": str(tmp_path)}).status_code == 201
