"""What a scheduler calls is what executors have."""

from __future__ import annotations

import inspect

import pytest

from app.executors.base import Executor
from app.executors.local import LocalExecutor
from tests.app.conftest import PretendExecutor


@pytest.mark.parametrize("kind", [LocalExecutor, PretendExecutor])
@pytest.mark.parametrize("name", ["launch", "find", "look", "kill", "devices"])
def test_an_executor_has_the_protocols_methods(kind: type, name: str) -> None:
    assert list(inspect.signature(getattr(kind, name)).parameters) == list(
        inspect.signature(getattr(Executor, name)).parameters
    )
