"""What an operator can set, read from S2A_* environment variables; the one place that reads the environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.libraries import QUIET, SHARING

Number = TypeVar("Number", int, float)
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]


class Settings(BaseSettings):
    """Settings of one service process; docs/settings.md is made of what stands below each."""

    model_config = SettingsConfigDict(env_prefix="S2A_", use_attribute_docstrings=True, allow_inf_nan=False)

    data_dir: Path = Path("var")
    """Where datasets, checkpoints, artifacts and the SQLite file are; the same directory for every part."""
    database_url: str = ""
    """An SQLAlchemy URL; where it is empty, SQLite in the data directory."""
    public_url: str = "http://127.0.0.1:8000"
    """Where runners reach this service."""
    root_path: Annotated[str, Field(pattern="^(/[A-Za-z0-9._-]+)*$")] = ""
    """Where a reverse proxy shows the service, such as `/s2a`."""
    log_json: bool = True
    """One JSON document for each line of the log; otherwise text for people."""

    run_scheduler: bool = True
    """Whether this process may lead the queue."""
    run_workers: bool = True
    """Whether this process makes plans, looks at datasets, sends webhooks and clears up."""
    executor: Literal["local", "ray"] = "local"
    """Where attempts run: on this machine, or on a Ray cluster."""
    ray_address: str = "auto"
    """The head of the Ray cluster."""
    ray_require_token: bool = True
    """Refuse a cluster without token authentication: whoever reaches an open one runs what he likes on it."""
    runner_command: list[str] = []
    """What an attempt runs; where it is empty, `app.runner` of this Python."""
    capacity_bytes: NotNegative[int] = 0
    """Memory of this machine that CPU jobs may share; half of it where this is 0."""
    cuda_reserve_bytes: NotNegative[int] = 512 * 2**20
    """Of each GPU, what is left for the driver and for what moves."""

    poll_s: Positive[float] = 0.3
    """Between two looks of the scheduler at the queue."""
    worker_poll_s: Positive[float] = 0.5
    """Between two looks of a worker for plans, datasets and webhooks."""
    leader_s: Positive[float] = 10.0
    """A scheduler that was silent for so long is followed by another."""
    launch_s: Positive[float] = 60.0
    """For so long a process that was to be started is looked for."""
    renew_s: Positive[float] = 10.0
    """Between two heartbeats of an attempt."""
    lease_s: Positive[float] = 60.0
    """An attempt that was silent for so long is lost."""
    fence_s: Positive[float] = 40.0
    """A runner that hears nothing for so long stops working; keep it below the lease."""
    give_up_s: Positive[float] = 3600.0
    """A runner that reaches no service for so long ends."""
    stuck_s: Positive[float] = 1800.0
    """An attempt that is alive but whose loop did nothing for so long is stopped."""
    kill_grace_s: NotNegative[float] = 2.0
    """Between TERM and KILL."""
    pause_grace_s: Positive[float] = 30.0
    """The same for a job that goes on later: time for a step and a checkpoint."""
    exit_s: Positive[float] = 10.0
    """A process whose job has ended may take so long to end itself."""
    memory_return_s: Positive[float] = 15.0
    """A device whose memory does not come back within this time is quarantined."""
    stop_jobs: bool = False
    """Whether a service that is stopped ends its jobs first, each with a checkpoint."""
    drain_s: NotNegative[int] = 5
    """Seconds that a service which was told to stop gives to open requests; then they are cut off."""

    max_infra_retries: NotNegative[int] = 3
    """Retries of a job whose process or machine was lost, since its last progress."""
    max_own_retries: NotNegative[int] = 1
    """Retries of a job that failed by itself."""
    max_oom_retries: NotNegative[int] = 3
    """Retries of a job that ran out of memory, each under a tighter plan."""
    max_host_kills: Positive[int] = 2
    """A job that takes its machine down so many times fails."""

    max_body_bytes: Positive[int] = 2 * 2**20
    """The largest body of a request; parts of an upload and files of a runner have limits of their own."""
    max_part_bytes: Positive[int] = 32 * 2**20
    """The largest part of an upload."""
    max_artifact_bytes: Positive[int] = 8 * 2**30
    """The largest file of a job."""
    max_upload_bytes: Positive[int] = 64 * 2**30
    """The largest upload."""
    upload_lifetime_s: Positive[float] = 24 * 3600.0
    """After so long an unfinished upload is deleted."""
    upload_idle_s: Positive[float] = 30.0
    """A sender that says nothing for so long has gone."""
    data_roots: list[Path] = []
    """Directories in which keys that are not an admin's may name data and weights."""
    share_hub_token: bool = False
    """Whether every key may fetch what this machine's Hugging Face token may."""
    rate_per_s: NotNegative[float] = 200.0
    """Requests a second that a key may send on average; 0 sets no limit."""
    rate_burst: Positive[int] = 400
    """Requests that a key may send at once."""
    stream_heartbeat_s: Positive[float] = 15.0
    """Between signs of life on an event stream."""
    plan_timeout_s: Positive[float] = 900.0
    """After so long a plan is given up."""
    dataset_timeout_s: Positive[float] = 1800.0
    """After so long the look at a dataset is given up."""
    allow_private_webhooks: bool = False
    """Whether webhooks may reach addresses that are not public."""

    @model_validator(mode="after")
    def _runners_stop_before_others_start(self) -> Self:
        if not self.renew_s < self.fence_s < self.lease_s:
            raise ValueError(
                f"S2A_RENEW_S ({self.renew_s:g}) < S2A_FENCE_S ({self.fence_s:g}) < S2A_LEASE_S ({self.lease_s:g}) "
                "must hold: a runner that is cut off stops before somebody else starts its job"
            )
        return self

    @property
    def url(self) -> str:
        """The database to connect to."""
        return self.database_url or f"sqlite:///{(self.data_dir / 's2a.db').resolve()}"


class ClientSettings(BaseSettings):
    """Where the command line finds a service, and with which key: S2A_URL and S2A_API_KEY."""

    model_config = SettingsConfigDict(env_prefix="S2A_", use_attribute_docstrings=True)

    url: str = "http://127.0.0.1:8000"
    """Where the service is."""
    api_key: str = ""
    """The key to send."""


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
