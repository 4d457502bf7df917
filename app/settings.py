"""What an operator can set, read from S2A_* environment variables; the one place that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one service process.

    data_dir: jobs, artifacts and the SQLite file. database_url: an SQLAlchemy URL; SQLite in data_dir if empty.
    public_url: where runners reach this service. capacity_bytes: memory jobs may share; half of the machine's if 0.
    """

    model_config = SettingsConfigDict(env_prefix="S2A_")

    data_dir: Path = Path("var")
    database_url: str = ""
    public_url: str = "http://127.0.0.1:8000"
    run_scheduler: bool = True
    capacity_bytes: int = 0
    poll_s: float = 0.3
    max_infra_retries: int = 3
    max_body_bytes: int = 64 * 2**20

    @property
    def url(self) -> str:
        """The database to connect to."""
        return self.database_url or f"sqlite:///{(self.data_dir / 's2a.db').resolve()}"


def child_environment() -> dict[str, str]:
    """This process's environment for a runner: without S2A_* settings, so without the database's password."""
    return {name: value for name, value in os.environ.items() if not name.startswith("S2A_")}
