"""What the doctor says of compilers, shared memory and the driver, with what to do about each."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from app.cli import machine
from app.executors import devices
from app.executors.base import DeviceReading

MIB = 2**20


@pytest.mark.parametrize(
    ("present", "has_cuda", "state", "words"),
    [
        ("CC CXX", True, "good", "/CC and /CXX"),
        ("CXX", True, "bad", "Triton cannot build its kernels; install gcc"),
        ("CXX", False, "warn", "no C compiler"),
        ("CC", True, "warn", "no C++ compiler"),
        ("", False, "warn", "no C and C++ compiler"),
    ],
)
def test_a_missing_compiler_matters_where_triton_needs_it(
    present: str, has_cuda: bool, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.settings.compiler", lambda name, *_: f"/{name}" if name in present.split() else None)
    found = machine.compilers(has_cuda)
    assert found["state"] == state
    assert words in found["message"]


@pytest.mark.parametrize(("free_mib", "state"), [(64, "warn"), (2048, "good")])
def test_a_containers_default_of_shared_memory_is_told(
    free_mib: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = SimpleNamespace(f_blocks=free_mib * MIB, f_bavail=free_mib * MIB, f_frsize=1)
    monkeypatch.setattr(os, "statvfs", lambda _: place)
    found = machine.shared_memory()
    assert (found["state"], found["free_bytes"]) == (state, free_mib * MIB)
    assert ("--shm-size=2g" in found["message"]) == (state == "warn")


@pytest.mark.parametrize(
    ("version", "has_cuda", "gpus", "state", "words"),
    [
        (None, True, 0, "bad", "NVML does not answer"),
        (None, False, 0, "warn", "no NVIDIA driver"),
        ("560.1", True, 1, "good", "560.1; cuda:0 700 MiB free"),
        ("560.1", False, 0, "warn", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_the_driver_and_what_is_free(
    version: str | None, has_cuda: bool, gpus: int, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = DeviceReading("", "cuda", "cuda:0", 1000 * MIB, used_bytes=300 * MIB)
    monkeypatch.setattr(devices, "driver_version", lambda: version)
    monkeypatch.setattr(devices, "read_devices", lambda *_: [DeviceReading("", "cpu", "cpu", 0), *[gpu] * gpus])
    found = machine.driver(has_cuda)
    assert found["state"] == state
    assert words in found["message"]
