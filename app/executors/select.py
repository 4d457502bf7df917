"""The executor that the settings name."""

from __future__ import annotations

from importlib.util import find_spec

from app.executors.base import Executor
from app.executors.local import LocalExecutor
from app.settings import Settings, has_ray_token
from s2a_core.errors import InvalidInput


def check_executor(settings: Settings) -> None:
    """Raise InvalidInput where the executor is Ray and its token or Ray itself is missing."""
    if settings.executor == "local":
        return
    if settings.ray_require_token and not has_ray_token():
        raise InvalidInput(
            "S2A_EXECUTOR=ray needs token authentication: set RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN here and "
            "on every node, or S2A_RAY_REQUIRE_TOKEN=false in a network where nobody else is"
        )
    if find_spec("ray") is None:
        raise InvalidInput("S2A_EXECUTOR=ray needs Ray: pip install 's2a[ray]'")


def executor_of(settings: Settings) -> Executor:
    """LocalExecutor, or RayExecutor when S2A_EXECUTOR=ray. Raises as `check_executor`."""
    check_executor(settings)
    if settings.executor == "local":
        return LocalExecutor(settings.capacity_bytes)
    from app.executors.ray import RayExecutor

    return RayExecutor(settings.ray_address)
