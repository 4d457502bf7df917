"""The executor that the settings name."""

from __future__ import annotations

from app.executors.base import Executor
from app.executors.local import LocalExecutor
from app.settings import Settings
from s2a_core.errors import InvalidInput


def executor_of(settings: Settings) -> Executor:
    """LocalExecutor, or RayExecutor when S2A_EXECUTOR=ray. Raises InvalidInput without the extra s2a[ray]."""
    if settings.executor == "local":
        return LocalExecutor(settings.capacity_bytes)
    try:
        from app.executors.ray import RayExecutor

        return RayExecutor(settings.ray_address)
    except ImportError as error:
        raise InvalidInput("S2A_EXECUTOR=ray needs Ray: pip install 's2a[ray]'") from error
