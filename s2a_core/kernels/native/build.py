"""Builds kernels.cpp once per machine, in torch's cache folder, whoever and however many ask for it at once.

The compiler runs in a process of its own that holds a lock on a file beside the library. Whoever asks waits for it a
minute at most; a slower build goes on, and the next process finds it. Nothing is written anywhere else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("kernels.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-O3", "-march=native", "-fopenmp", "-std=c++20", "-shared", "-fPIC", "-w",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
# A build takes about four seconds. A busy machine's takes many times that, and is waited for all the same: a profile of
# the reference kernels tells wrong peaks and times of the library that the next process would find.
WAIT_S = 60.0
POLL_S = 0.05


class BuildError(Exception):
    """There is no library; the message says why."""


def built(wait_s: float = WAIT_S, retry: bool = False) -> Path:
    """Path of the library for this source, torch and processor, built if need be.

    Raises BuildError when there is no compiler, when it failed (once told, it is not run again for this source unless
    `retry`), and after `wait_s` seconds of waiting for it; OSError when the cache folder cannot be written.
    """
    target = library_path()
    if target.is_file():
        return target
    compiler = compiler_path()
    if compiler is None:
        raise BuildError(f"no C++ compiler: none of {', '.join(COMPILERS)} is on the PATH")
    target.parent.mkdir(parents=True, exist_ok=True)
    failure, until = target.with_suffix(".failed"), time.monotonic() + wait_s
    if retry:
        failure.unlink(missing_ok=True)
    is_started = False
    while not target.is_file():
        if failure.is_file():
            raise BuildError(f"{compiler} failed: {failure.read_text(errors='replace')[-500:].strip()}")
        with target.with_suffix(".lock").open("w") as lock:
            # once this process let go of it, the lock lasts as long as the compiler that inherited it
            if _locked(lock.fileno()) and not (target.is_file() or failure.is_file()):
                if is_started:
                    raise BuildError(f"{compiler} ended and left neither a library nor a message")
                command = ["sh", "-c", f"({_script(compiler, target, failure)}) &"]
                nothing = subprocess.DEVNULL
                subprocess.run(
                    command,
                    pass_fds=[lock.fileno()],
                    start_new_session=True,
                    stdin=nothing,
                    stdout=nothing,
                    stderr=nothing,
                    check=True,
                )
                is_started = True
        if time.monotonic() >= until:
            raise BuildError(f"{compiler} needs longer than {wait_s:g} s; the next process finds its result")
        time.sleep(POLL_S)
    return target


def compiler_path() -> str | None:
    """The first C++ compiler on the PATH; None where there is none."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def library_path() -> Path:
    """Where the library of this source, torch and processor lies, once it is built."""
    key = "\n".join((SOURCE.read_text(), torch.__version__, " ".join(FLAGS), _processor()))
    name = f"s2a_kernels_{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    return Path(torch.hub.get_dir()).parent / "s2a" / name


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _script(compiler: str, target: Path, failure: Path) -> str:
    """Shell that compiles to a fresh name and renames it: nobody ever loads half a library."""
    torch_folder = Path(torch.__file__).parent
    include = torch_folder / "include"
    fresh, log = target.with_suffix(f".{os.getpid()}.tmp"), target.with_suffix(f".{os.getpid()}.log")
    places = [f"-I{include}", f"-I{include}/torch/csrc/api/include", f"-L{torch_folder / 'lib'}"]
    command = [compiler, *FLAGS, str(SOURCE), "-o", str(fresh), *places, "-lc10", "-ltorch_cpu"]
    done, ready, folder = shlex.join(command), shlex.join([str(fresh), str(target)]), shlex.quote(str(target.parent))
    said = shlex.quote(str(log))
    return (
        f"if TMPDIR={folder} {done} 2> {said}; then rm -f {said}; mv -f {ready}; "
        f"else rm -f {shlex.quote(str(fresh))}; mv -f {said} {shlex.quote(str(failure))}; fi"
    )


def _processor() -> str:
    """What -march=native depends on: the machine and the instructions it lists."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    flags = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(flags))])
