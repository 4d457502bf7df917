"""A wheel in an environment of its own, far from the checkout, serves, trains and migrates by what it carries."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.service import RunningService

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of an environment with the wheel, and with this environment's packages but not its checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    origins = [importlib.util.find_spec(name) for name in ("torch", "fastapi", "alembic", "timm")]
    shared = {str(Path(spec.origin).parents[1]) for spec in origins if spec is not None and spec.origin}
    (site / "shared.pth").write_text("\n".join(sorted(shared)))  # read as folders: their own .pth are not followed
    (wheel,) = folder.glob("*.whl")
    python = str(folder / "venv" / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # Ray's tests set it
    where = subprocess.check_output([python, "-P", "-c", "import app; print(app.__file__)"], text=True, env=alone)
    assert Path(where.strip()).is_relative_to(site)
    return folder / "venv" / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: another project's, whose own `alembic` and `app` must never be run."""
    project = tmp_path / "project"
    for name in ("alembic", "app", "app/runner", "alembic/versions"):
        (project / name).mkdir(parents=True)
    bomb = f"open({str(tmp_path / 'executed')!r}, 'w').close(); raise SystemExit('another project was executed')\n"
    for name in ("alembic/env.py", "app/__init__.py", "app/runner/__main__.py"):
        (project / name).write_text(bomb)
    monkeypatch.chdir(project)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return project


@pytest.fixture
def service(installed: Path, elsewhere: Path, tmp_path: Path) -> Iterator[RunningService]:
    made = RunningService(tmp_path / "data", [str(installed / "s2a"), "serve"], capacity_bytes=2**30)
    yield made.start()
    made.stop()


def test_a_service_from_a_wheel_runs_jobs_and_plans_in_the_directory_of_another_project(
    service: RunningService, tmp_path: Path
) -> None:
    plan = service.call("POST", "/v1/plans", json={"model": "s2a_tiny", "data": "digits", "budget": "64MiB"})
    job = service.submit(model="s2a_tiny", data="digits", budget="64MiB", epochs=1)
    ended = service.wait_until(job, "succeeded", "failed", seconds=400)
    assert ended["status"] == "succeeded", ended["reason"]
    planned = service.call("GET", f"/v1/plans/{plan['id']}")
    assert planned["status"] in ("running", "ready"), planned["reason"]
    assert not (tmp_path / "executed").exists()


def test_an_installed_s2a_trains_and_moves_its_database_up_and_down(
    installed: Path, elsewhere: Path, tmp_path: Path
) -> None:
    def s2a(*words: str) -> dict[str, object]:
        ran = subprocess.run([str(installed / "s2a"), *words, "--json"], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return dict(json.loads(ran.stdout))

    url = f"sqlite:///{tmp_path / 'db'}"
    newest = s2a("db", "current", "--db", url)["newest"]
    assert s2a("db", "current", "--db", url)["revision"] is None
    assert s2a("db", "upgrade", "--db", url)["revision"] == newest
    assert s2a("db", "downgrade", "0001", "--db", url)["revision"] == "0001"
    assert s2a("db", "upgrade", "--db", url)["revision"] == newest
    out = str(tmp_path / "out")
    report = s2a("train", "s2a_tiny", "--data", "digits", "--budget", "64MiB", "--epochs", "1", "--output", out)
    assert report["within_budget"] is True
    assert not (tmp_path / "executed").exists()
