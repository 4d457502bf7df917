"""Commands about datasets, plans, devices and keys against the real service."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.models import Dataset, Device, Plan
from tests.app.cli.test_jobs import Run, document, run

__all__ = ["run"]


def test_groups_without_a_command_list(run: Run) -> None:
    for name in ("datasets", "plans", "devices"):
        assert document(run(name, "--json")) == {"items": []}
    for name in ("datasets", "plans"):
        assert document(run(name, "list", "--json")) == {"items": []}
    assert "no dataset yet" in run("datasets").stdout
    assert len(document(run("keys", "--json"))["items"]) == 2  # the first key, and this one


def test_an_archive_is_uploaded_looked_at_and_removed(
    run: Run, service: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(client: object, dataset_id: str) -> dict[str, object]:
        with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
            dataset = session.get(Dataset, dataset_id)
            dataset.status, dataset.reason = "refused", {"code": "bad", "message": "not a zip", "details": {}}
        return dict(service.get(f"/v1/datasets/{dataset_id}").json())

    monkeypatch.setattr("app.client.Client.wait_dataset", look)
    archive = tmp_path / "photos.zip"
    archive.write_bytes(b"PK" + bytes(100))
    done = run("datasets", "upload", str(archive))
    assert done.exit_code == 2
    assert "not a zip" in done.output
    found = document(run("datasets", "--json"))["items"][0]
    assert found["name"] == "photos"
    assert document(run("datasets", "remove", found["id"], "--json"))["removed"] is True


def test_a_plan_that_cannot_fit_ends_with_exit_code_three(run: Run, service: TestClient) -> None:
    asked = run("plans", "ask", "s2a_tiny", "--data", "digits", "--budget", "1MiB", "--wait", "0", "--json")
    plan_id = document(asked)["id"]
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        plan = session.get(Plan, plan_id)
        plan.status = "infeasible"
        plan.reason = {"code": "infeasible_budget", "message": "nothing fits 1.0 MiB", "details": {}}
    assert "nothing fits" in run("plans", "show", plan_id).stdout
    assert plan_id in run("plans").stdout


def test_weights_that_are_none_are_asked_for(run: Run) -> None:
    words = ["s2a_tiny", "--data", "digits", "--budget", "16MiB", "--wait", "0", "--json"]
    asked = document(run("plans", "ask", *words, "--weights", "none"))
    assert asked["request"]["weights"] == "none"


def test_a_weights_file_is_asked_for_by_its_whole_path(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.safetensors").touch()
    words = ("s2a_tiny", "--data", "digits", "--budget", "16MiB", "--weights", "w.safetensors", "--json")
    path = str(tmp_path / "w.safetensors")
    for command in (("plans", "ask", "--wait", "0"), ("submit",)):
        asked = document(run(*command, *words))
        assert asked["request"]["weights"] == path


def test_devices_are_bars_and_keys_are_made_and_revoked(run: Run, service: TestClient) -> None:
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        session.add(Device(worker="w", kind="cuda", name="gpu-0", capacity_bytes=8 * 2**30, reserve_bytes=2**30))
    text = run("devices").stdout
    assert "gpu-0" in text
    assert "█" in text
    made = document(run("keys", "create", "--team", "vision", "--scope", "read", "--json"))
    assert made["scopes"] == ["read"]
    assert run("jobs", "--key", made["key"]).exit_code == 0
    assert document(run("keys", "revoke", made["id"], "--json"))["revoked"] is True
    assert run("jobs", "--key", made["key"]).exit_code == 2
    assert "revoked" in run("keys").stdout
