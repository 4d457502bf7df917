"""The images and the compose file name only what exists: files that are copied, Dockerfiles, settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    return document


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda p: p.name)
def test_an_image_copies_only_what_the_repository_has(dockerfile: Path) -> None:
    copied = [
        source
        for line in dockerfile.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    assert [source for source in copied if not list(ROOT.glob(source))] == []


def test_the_api_image_installs_no_torch() -> None:
    assert not re.search(
        r"\b(torch|timm|triton)\b", (ROOT / "docker" / "api.Dockerfile").read_text().split("RUN", 1)[1]
    )


def test_compose_builds_from_dockerfiles_that_exist() -> None:
    built = [service["build"]["dockerfile"] for service in compose()["services"].values() if "build" in service]
    assert built
    assert all((ROOT / name).is_file() for name in built)


def test_compose_sets_only_settings_that_exist() -> None:
    names = {
        name.removeprefix("S2A_").lower()
        for service in compose()["services"].values()
        for name in service.get("environment", {})
        if name.startswith("S2A_")
    }
    assert names <= set(Settings.model_fields)


def test_what_needs_the_method_runs_in_an_image_that_has_it() -> None:
    """Plans, datasets and jobs are work of a service unless it is told to leave them."""
    services = compose()["services"]
    for name in ("api", "scheduler", "ray-scheduler"):
        environment = services[name].get("environment", {})
        is_worker = environment.get("S2A_RUN_WORKERS") != "false" or environment.get("S2A_RUN_SCHEDULER") != "false"
        assert is_worker == services[name]["build"]["dockerfile"].endswith("worker.Dockerfile"), name
    image = (ROOT / "docker" / "api.Dockerfile").read_text()
    assert "S2A_RUN_SCHEDULER=false S2A_RUN_WORKERS=false" in image


def test_a_container_that_is_made_again_keeps_the_name_of_its_devices() -> None:
    services = compose()["services"]
    assert [name for name in ("scheduler", "ray-head") if "hostname" not in services[name]] == []


def test_what_trains_has_room_in_shared_memory_time_to_stop_and_a_compiler() -> None:
    services = compose()["services"]
    trains = {name: s for name, s in services.items() if "worker" in str(s.get("build", {}).get("dockerfile"))}
    assert sorted(trains) == ["ray-head", "ray-scheduler", "scheduler"]
    for name, service in trains.items():
        assert service["shm_size"] == "2gb", name
        assert int(service["stop_grace_period"].removesuffix("s")) > Settings().pause_grace_s, name
    assert services["scheduler"]["environment"]["S2A_STOP_JOBS"] == "true"
    installed = (ROOT / "docker" / "worker.Dockerfile").read_text()
    assert re.search(r"apt-get install .*\bgcc g\+\+ libc6-dev\b", installed)


def test_an_image_installs_from_a_tree_that_has_the_migrations() -> None:
    for dockerfile in DOCKERFILES:
        before = dockerfile.read_text().split("install --no-cache-dir --no-deps .")[0].split('".${EXTRAS}"')[0]
        assert "COPY alembic ./alembic" in before, dockerfile.name
