"""What `s2a doctor` asks of the machine itself: compilers, shared memory, the NVIDIA driver and free device memory."""

from __future__ import annotations

import os
from typing import Any

from s2a_core.sizes import format_bytes

SHARED_MEMORY = "/dev/shm"
ENOUGH_SHARED_BYTES = 2**30  # four loader processes with three batches of 64 images of 224 px each take 440 MiB


def check(name: str, state: str, message: str, **facts: Any) -> dict[str, Any]:
    """One line of the doctor's answer. state: good, warn or bad."""
    return {"name": name, "state": state, "message": message, **facts}


def compilers(has_cuda: bool) -> dict[str, Any]:
    """A C compiler, which Triton needs on a GPU, and a C++ one, which builds the kernels for the CPU."""
    from app.settings import compiler

    c, cxx = compiler("CC", "cc", "gcc", "clang"), compiler("CXX", "c++", "g++", "clang++")
    facts = {"c": c, "cxx": cxx}
    if c and cxx:
        return check("compiler", "good", f"{c} and {cxx}", **facts)
    advice = "install gcc and g++ (on Debian: apt-get install gcc g++)"
    if has_cuda and not c:
        return check("compiler", "bad", f"no C compiler: Triton cannot build its kernels; {advice}", **facts)
    missing = " and ".join(word for word, path in (("C", c), ("C++", cxx)) if not path)
    return check("compiler", "warn", f"no {missing} compiler: runs on the CPU are slower; {advice}", **facts)


def shared_memory() -> dict[str, Any]:
    """Where loader processes hand their batches over; a container has 64 MiB unless it is told otherwise."""
    try:
        place = os.statvfs(SHARED_MEMORY)
    except OSError:
        return check("shared memory", "warn", f"there is no {SHARED_MEMORY}", total_bytes=None, free_bytes=None)
    total, free = place.f_blocks * place.f_frsize, place.f_bavail * place.f_frsize
    words = f"{format_bytes(free)} free of {format_bytes(total)} in {SHARED_MEMORY}"
    facts = {"total_bytes": total, "free_bytes": free}
    if free < ENOUGH_SHARED_BYTES:
        advice = "fewer processes load images on a GPU; give a container --shm-size=2g"
        return check("shared memory", "warn", f"{words}: {advice}", **facts)
    return check("shared memory", "good", words, **facts)


def driver(has_cuda: bool) -> dict[str, Any]:
    """The NVIDIA driver by NVML, and what of each GPU is free."""
    from app.executors.devices import driver_version, read_devices
    from app.settings import visible_gpus

    version = driver_version()
    if version is None:
        if has_cuda:
            words = "NVML does not answer: `s2a serve` offers no GPU here; install the driver's libnvidia-ml"
            return check("driver", "bad", words, version=None, devices=[])
        return check("driver", "warn", "no NVIDIA driver", version=None, devices=[])
    gpus = read_devices("", 0, visible_gpus())[1:]
    facts = [{"name": g.name, "total_bytes": g.capacity_bytes, "used_bytes": g.used_bytes} for g in gpus]
    rows = [f"{g.name} {format_bytes(g.capacity_bytes - g.used_bytes)} free" for g in gpus]
    words = f"{version}; {', '.join(rows) if rows else 'no GPU may be used (CUDA_VISIBLE_DEVICES)'}"
    return check("driver", "good" if rows else "warn", words, version=version, devices=facts)
