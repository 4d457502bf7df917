"""Runs commands and Python code on CUDA devices that do not exist, and reads what each process held of them.

True of a run: PyTorch's caching allocator (allocated, reserved, segments, caps, out of memory), what every process
holds of each device, processes and devices side by side, NVML's view, launches, copies, synchronisations, the host's
time. Not true: any value (device memory reads as zeros) and any device time (an elapsed time is 1 ms).
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakegpu.build import build

CONTEXTS_MIB = (256, 426, 616)  # of published measurements; driver, card and PyTorch decide
ROOT = Path(__file__).resolve().parents[2]
_RECORD = struct.Struct("12q")  # `Process` in native/ledger.h


@dataclass(frozen=True)
class ProcessUse:
    """What one process did on one device; `peak_bytes` and `context_bytes` are NVML's, the rest are counts."""

    device: int
    pid: int
    has_ended: bool
    held_bytes: int
    peak_bytes: int
    context_bytes: int
    launches: int
    syncs: int
    copies_to_host: int
    copies_to_device: int
    mallocs: int
    frees: int
    refused: int


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what its processes used, in the order in which they came."""

    returncode: int
    stdout: str
    stderr: str
    uses: tuple[ProcessUse, ...]

    @property
    def document(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.stdout)

    @property
    def use(self) -> ProcessUse:
        """The process that held most of a device."""
        return max(self.uses, key=lambda use: use.peak_bytes)


@dataclass(frozen=True)
class FakeDevices:
    """Devices of one kind that the processes started here share. Their ledger lives in `directory`."""

    num_devices: int = 1
    device_mib: int = 8192
    context_mib: int = 426
    kernel_kib: int = 64
    library_mib: int = 0
    cudnn_workspace_mib: int = 0
    has_nvml_processes: bool = True
    capability: int = 90
    has_kernel_names: bool = False
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="fakegpu-")))

    def environment(self) -> dict[str, str]:
        """The variables that put a process on these devices."""
        folder = build()
        settings = {
            "COUNT": self.num_devices, "MIB": self.device_mib, "CONTEXT_MIB": self.context_mib,
            "KERNEL_KIB": self.kernel_kib, "LIBRARY_MIB": self.library_mib, "CUDNN_MIB": self.cudnn_workspace_mib,
            "NVML_PROCESSES": int(self.has_nvml_processes), "CAPABILITY": self.capability,
            "KERNEL_NAMES": int(self.has_kernel_names), "DIR": self.directory,
        }  # fmt: skip
        preload = {"LD_PRELOAD": f"{folder}/libfakegpu.so", "LD_LIBRARY_PATH": str(folder)}
        return (
            {f"FAKE_GPU_{key}": str(value) for key, value in settings.items()}
            | preload
            | {"TRITON_LIBCUDA_PATH": str(folder)}
        )

    def start(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, **options: Any) -> Any:
        """A subprocess.Popen on these devices."""
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {}), **self.environment()}
        return subprocess.Popen([str(part) for part in command], env=variables, text=True, **options)

    def run(
        self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, timeout_s: float = 600
    ) -> Outcome:
        """Run a command to its end; `uses` are of the processes that came to a device meanwhile."""
        before = len(self.uses())
        pipe = subprocess.PIPE
        with self.start(command, env, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
            try:
                stdout, stderr = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Outcome(process.returncode, stdout, stderr, self.uses()[before:])

    def python(
        self, code: str, *arguments: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 600
    ) -> Outcome:
        """Run Python code; it must print one JSON document for `Outcome.document`."""
        return self.run([sys.executable, "-c", code, *arguments], env, timeout_s)

    def uses(self) -> tuple[ProcessUse, ...]:
        """Every process that came to a device so far, the killed ones too."""
        found = []
        for device in range(self.num_devices):
            path = self.directory / f"device{device}"
            content = path.read_bytes() if path.exists() else b""
            for pid, held, peak, context, *counts in _RECORD.iter_unpack(content):
                if pid:
                    found.append(ProcessUse(device, abs(pid), pid < 0, held, peak, context, *counts[:7]))
        return tuple(found)


def own_use(device: int = 0) -> ProcessUse | None:
    """What this process, started on such devices, did so far; None where it has no context on the device."""
    numbers = (ctypes.c_long * 10)()
    if ctypes.CDLL(None).fake_gpu_process(device, numbers):
        return None
    return ProcessUse(device, os.getpid(), False, *numbers)


def reset_peak(device: int = 0) -> None:
    """Let this process's peak begin again from what it holds now."""
    ctypes.CDLL(None).fake_gpu_reset_peak(device)
