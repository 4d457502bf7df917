"""`s2a doctor`: what this machine can do, and what is missing, with what to do about it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from app.cli import machine, options
from app.cli.machine import check as _check
from app.cli.terminal import Terminal
from s2a_core.sizes import format_bytes

_NEEDED = ("torch", "timm", "safetensors", "scipy", "pillow", "peft")
_MARK = {"good": "[good]ok[/]", "warn": "[warn]note[/]", "bad": "[bad]missing[/]"}


def doctor(ctx: typer.Context, json: options.Json = False) -> None:
    """Check the installation, the device and the disk. Exit code 2 if something needed is missing."""
    terminal: Terminal = ctx.obj
    with terminal.busy("checking this machine: loading PyTorch"):
        device = _torch()
        has_cuda = device.get("devices", ["cpu"]) != ["cpu"]
        hardware = [machine.driver(has_cuda), _memory(), machine.shared_memory(), machine.compilers(has_cuda)]
        checks = [_python(), _packages(), device, *hardware, _kernels(), _disk(), _hub(), _service()]
    is_healthy = all(check["state"] != "bad" for check in checks)
    terminal.document({"healthy": is_healthy, "checks": checks})
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_header=False)
    for check in checks:
        table.add_row(_MARK[check["state"]], check["name"], escape(check["message"]))
    terminal.say(table)
    if not is_healthy:
        raise typer.Exit(2)


def _python() -> dict[str, Any]:
    version = platform.python_version()
    return _check("python", "good", f"{version} on {platform.system()} {platform.machine()}", version=version)


def _packages() -> dict[str, Any]:
    versions: dict[str, str] = {}
    for name in _NEEDED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    missing = [name for name in _NEEDED if name not in versions]
    if missing:
        return _check("packages", "bad", f"{', '.join(missing)} not installed: pip install s2a", versions=versions)
    return _check("packages", "good", ", ".join(f"{n} {v}" for n, v in versions.items()), versions=versions)


def _torch() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return _check("device", "bad", "no PyTorch")
    import torch

    if not torch.cuda.is_available():
        return _check("device", "warn", f"cpu with {torch.get_num_threads()} threads; no CUDA device", devices=["cpu"])
    devices: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices.append({"name": properties.name, "memory_bytes": properties.total_memory})
    words = ", ".join(f"{d['name']} {format_bytes(int(d['memory_bytes']))}" for d in devices)
    return _check("device", "good", words, devices=devices)


def _kernels() -> dict[str, Any]:
    from s2a_core import kernels

    kernels.enable_native()
    on_cpu, why = kernels.backend_name(), kernels.native_failure()
    facts = {"cpu": on_cpu, "why_reference": why}
    words = f"{on_cpu} kernels on CPU"
    if why:
        words += f" (slower; no native ones: {why})"
    if importlib.util.find_spec("triton") is None:
        return _check("kernels", "warn", f"{words}; no Triton: reference kernels on a GPU, correct and slower", **facts)
    return _check("kernels", "warn" if why else "good", f"Triton {version('triton')} on CUDA, {words}", **facts)


def _memory() -> dict[str, Any]:
    import psutil

    memory = psutil.virtual_memory()
    return _check(
        "memory",
        "good",
        f"{format_bytes(memory.available)} free of {format_bytes(memory.total)}",
        available_bytes=memory.available,
    )


def _disk() -> dict[str, Any]:
    home, temporary = Path.home(), Path(tempfile.gettempdir())
    free = shutil.disk_usage(home if home.is_dir() else temporary).free
    state = "good" if free > 2 * 2**30 else "warn"
    return _check("disk", state, f"{format_bytes(free)} free for datasets and checkpoints in {home}", free_bytes=free)


def _hub() -> dict[str, Any]:
    import socket

    try:
        socket.create_connection(("huggingface.co", 443), timeout=1.5).close()
    except OSError:
        return _check(
            "hub", "warn", "huggingface.co cannot be reached: give --weights FILE and --data DIR", reachable=False
        )
    return _check("hub", "good", "huggingface.co can be reached", reachable=True)


def _service() -> dict[str, Any]:
    missing = [n for n in ("fastapi", "sqlalchemy", "uvicorn", "alembic") if importlib.util.find_spec(n) is None]
    if missing:
        return _check("service", "warn", f"`s2a serve` needs {', '.join(missing)}")
    return _check("service", "good", "`s2a serve` can run")
