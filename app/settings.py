"""What an operator can set, read from S2A_* environment variables; the one place that reads the environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.libraries import QUIET, SHARING


class Settings(BaseSettings):
    """Settings of one service process.

    data_dir: jobs, artifacts and the SQLite file. database_url: an SQLAlchemy URL; SQLite in data_dir if empty.
    public_url: where runners reach this service. capacity_bytes: memory jobs may share; half of the machine's if 0.
    data_roots: directories a key may name data and weights in; an admin's key may name any.
    max_body_bytes: of a request; an upload's part and a runner's file have limits of their own.
    drain_s: seconds that a service which was told to stop gives to the requests it is at; then they are cut off.
    rate_per_s, rate_burst: requests a key may send, on average and at once; 0 sets no limit.
    plan_timeout_s, dataset_timeout_s: after which a plan or a dataset is given up.
    allow_private_webhooks: whether webhooks may reach addresses that are not public.
    """

    model_config = SettingsConfigDict(env_prefix="S2A_")

    data_dir: Path = Path("var")
    database_url: str = ""
    public_url: str = "http://127.0.0.1:8000"
    run_scheduler: bool = True
    capacity_bytes: int = 0
    cuda_reserve_bytes: int = 512 * 2**20  # of each GPU, for the driver and what moves
    poll_s: float = 0.3
    # attempts: seconds between heartbeats, until a silent one is lost, until a runner that hears nothing stops working
    renew_s: float = 10.0
    lease_s: float = 60.0
    fence_s: float = 40.0
    give_up_s: float = 3600.0  # a runner that reaches no service for so long ends
    stuck_s: float = 1800.0  # alive, but its loop did nothing for so long
    leader_s: float = 10.0  # a scheduler that was silent for so long is followed by another
    launch_s: float = 60.0  # a process that was to be started is looked for so long
    stop_jobs: bool = False  # a service that is stopped ends its jobs with a checkpoint first
    kill_grace_s: float = 2.0  # between TERM and KILL
    pause_grace_s: float = 30.0  # the same for a job that goes on later: time for a step and a checkpoint
    exit_s: float = 10.0  # a process whose job has ended may take so long to end itself
    memory_return_s: float = 15.0  # until a device whose memory does not come back is quarantined
    # retries of a job, by whose fault it was
    max_infra_retries: int = 3
    max_own_retries: int = 1
    max_oom_retries: int = 3
    max_host_kills: int = 2
    runner_command: list[str] = []  # what an attempt runs; this Python's app.runner if empty
    executor: Literal["local", "ray"] = "local"
    ray_address: str = "auto"
    ray_require_token: bool = True  # without Ray's token authentication whoever reaches the cluster runs what he likes
    run_workers: bool = True
    max_body_bytes: int = 2 * 2**20
    max_part_bytes: int = 32 * 2**20
    max_artifact_bytes: int = 8 * 2**30
    max_upload_bytes: int = 64 * 2**30
    upload_lifetime_s: float = 24 * 3600.0
    upload_idle_s: float = 30.0  # a sender that says nothing for so long has gone
    data_roots: list[Path] = []
    drain_s: int = 5
    share_hub_token: bool = False  # whether every key may fetch what this machine's Hugging Face token may
    root_path: str = Field("", pattern="^(/[A-Za-z0-9._-]+)*$")  # where a reverse proxy shows the service: /s2a
    rate_per_s: float = 200.0
    rate_burst: int = 400
    stream_heartbeat_s: float = 15.0  # between signs of life on an event stream
    plan_timeout_s: float = 900.0
    dataset_timeout_s: float = 1800.0
    worker_poll_s: float = 0.5
    allow_private_webhooks: bool = False
    log_json: bool = True

    @property
    def url(self) -> str:
        """The database to connect to."""
        return self.database_url or f"sqlite:///{(self.data_dir / 's2a.db').resolve()}"


class ClientSettings(BaseSettings):
    """Where the command line finds a service, and with which key: S2A_URL and S2A_API_KEY."""

    model_config = SettingsConfigDict(env_prefix="S2A_")

    url: str = "http://127.0.0.1:8000"
    api_key: str = ""


def has_ray_token() -> bool:
    """Whether Ray's token authentication is on in this process."""
    return os.environ.get("RAY_AUTH_MODE") == "token"


def compiler(variable: str, *names: str) -> str | None:
    """The compiler that a variable such as CC names, else the first of these on the path; None without one."""
    return next(filter(None, map(shutil.which, (os.environ.get(variable) or names[0], *names))), None)


def visible_gpus() -> list[str] | None:
    """The entries of CUDA_VISIBLE_DEVICES; None where it is not set, so that every GPU may be used."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if listed is None else [entry.strip() for entry in listed.split(",")]


def child_environment() -> dict[str, str]:
    """This process's environment for a runner: what libraries read, no S2A_* settings, so not the password."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("S2A_")}
    sharing = {} if "OMP_WAIT_POLICY" in given else SHARING  # libgomp would follow ours, not the operator's
    return {**QUIET, **sharing, **given}
