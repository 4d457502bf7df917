"""The settings name where attempts run; without Ray or its token the message says what to do."""

from __future__ import annotations

import sys

import pytest

from app.executors.local import LocalExecutor
from app.executors.select import executor_of
from app.settings import Settings
from s2a_core.errors import InvalidInput


def test_local_is_the_default_with_the_declared_capacity() -> None:
    executor = executor_of(Settings(capacity_bytes=123))
    assert isinstance(executor, LocalExecutor)
    assert executor.capacity_bytes == 123


def test_ray_has_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInput, match=r"pip install 's2a\[ray\]'"):
        executor_of(Settings(executor="ray", ray_require_token=False))


def test_ray_without_its_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(InvalidInput, match="set RAY_AUTH_MODE=token"):
        executor_of(Settings(executor="ray"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "ray://nowhere.invalid:6379"])
def test_a_cluster_that_cannot_be_reached_is_said_in_a_line_at_once(address: str) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 's2a[ray]'")
    with pytest.raises(InvalidInput, match=rf"S2A_RAY_ADDRESS={address}: no Ray cluster .* `ray start --head"):
        executor_of(Settings(executor="ray", ray_address=address, ray_require_token=False))
