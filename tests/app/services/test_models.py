"""The catalogue of models: found by words, page by page, without loading torch."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.services.models import ModelCatalog
from s2a_core.errors import UnknownModel


def test_models_are_found_by_words(service: TestClient) -> None:
    found = service.get("/v1/models", params={"q": "vit tiny", "limit": 5}).json()
    assert all("vit" in item["name"] and "tiny" in item["name"] for item in found["items"])
    assert found["items"][0]["name"].startswith("vit")
    assert found["items"][0]["num_params"] > 10**6
    seen = {item["name"] for item in found["items"]}
    rest = service.get("/v1/models", params={"q": "vit tiny", "limit": 5, "after": found["next"]}).json()
    assert not seen & {item["name"] for item in rest["items"]}
    assert service.get("/v1/models", params={"family": "resnet"}).json()["total"] > 20
    assert service.get("/v1/models").json()["total"] > 1000


def test_one_model_with_or_without_its_tag(service: TestClient) -> None:
    plain = service.get("/v1/models/vit_base_patch16_224").json()
    assert service.get("/v1/models/vit_base_patch16_224.augreg_in21k").json() == plain
    assert (plain["family"], plain["input_size"]) == ("vision_transformer", [3, 224, 224])
    assert service.get("/v1/models/s2a_tiny").json()["family"] == "s2a"
    assert service.get("/v1/models/no_such_model").status_code == 404


def test_another_release_of_timm_is_listed_by_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Child:
        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)
            Path(command[-1]).write_text('{"timm": "9.9", "models": [{"name": "new_net", "family": "new"}]}')

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    monkeypatch.setattr("subprocess.Popen", Child)
    catalog = ModelCatalog(tmp_path)
    assert len(catalog.models()) > 1000
    assert started[0][1:4] == ["-P", "-m", "app.runner.models"]
    assert [entry["name"] for entry in catalog.models()] == ["new_net"]
    catalog.close()


def test_without_timm_the_list_that_comes_with_s2a_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    catalog = ModelCatalog(tmp_path)
    assert catalog.get("vit_base_patch16_224")["family"] == "vision_transformer"
    catalog.require("vit_base_patch16_224")
    with pytest.raises(UnknownModel):
        catalog.require("deit_tny_patch16_224")


def test_a_model_that_timm_does_not_have_is_refused_before_anything_waits(service: TestClient) -> None:
    wanted = {"model": "deit_tny_patch16_224", "data": "digits", "budget": "1GiB"}
    for path in ("/v1/jobs", "/v1/plans"):
        refused = service.post(path, json=wanted)
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_model")
        assert "deit_tiny_patch16_224" in refused.json()["details"]["nearest"]
    assert service.get("/v1/jobs").json()["items"] == []


def test_a_listing_that_fails_is_not_tried_again_with_every_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    class Child:
        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

        def poll(self) -> int:
            return 1

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    monkeypatch.setattr("subprocess.Popen", Child)
    catalog = ModelCatalog(tmp_path)
    assert [len(catalog.models()) > 1000 for _ in range(3)] == [True] * 3
    assert len(started) == 1
