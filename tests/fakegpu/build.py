"""Builds the library of the device without silicon, once for each PyTorch and source."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = sorted((HERE / "native").iterdir())
CACHE = HERE.parents[1] / "var" / "fakegpu"
TORCH_LIBRARIES = (
    "libc10_cuda.so", "libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_python.so", "libcaffe2_nvrtc.so"
)  # fmt: skip
# Names under which PyTorch and Triton load what the library stands for.
LOADED_AS = ("libcuda.so.1", "libcuda.so", "libnvidia-ml.so.1")
ENTRY_POINT = re.compile(r"^(__cuda|cuda[A-Z]|cu[A-Z]|cublas|cudnn|cusolver|cusparse|cufft|curand|nvrtc|nvml)")


def missing() -> str | None:
    """What this machine lacks to build it, or None."""
    for tool in ("g++", "nm"):
        if shutil.which(tool) is None:
            return f"needs {tool} to build the device without silicon"
    for package in ("torch", "triton"):
        if importlib.util.find_spec(package) is None:
            return f"needs {package} for the device without silicon"
    if not (_folder("torch") / "lib" / "libc10_cuda.so").exists():
        return "needs PyTorch's CUDA build for the device without silicon"
    return None


def build() -> Path:
    """The folder with the library under each name it is loaded as; built by g++ where it is not there yet."""
    torch, triton = _folder("torch"), _folder("triton")
    texts = [path.read_text() for path in (*SOURCES, Path(__file__))]
    versions = [importlib.metadata.version(name) for name in ("torch", "triton")]
    key = hashlib.sha256("\0".join([*texts, *versions, str(torch)]).encode()).hexdigest()[:16]
    folder = CACHE / key
    if (folder / LOADED_AS[0]).exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        library = Path(scratch) / "out" / "libfakegpu.so"
        library.parent.mkdir()
        stubs = sorted(_entry_points(torch, triton) - _answered("\n".join(texts)))
        Path(scratch, "stubs.inc").write_text("".join(f'extern "C" int {name}() {{ return 0; }}\n' for name in stubs))
        sources = [str(path) for path in SOURCES if path.suffix == ".cpp"]
        includes = [f"-I{folder}" for folder in (*_runtime_headers(), triton / "backends" / "nvidia" / "include")]
        defines = [f"-DCUDA_RELEASE={_cuda_release()}", f"-DCUDNN_RELEASE={_cudnn_release()}"]
        subprocess.run(
            ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", "-w", *includes, f"-I{scratch}", *defines, *sources,
             "-o", str(library), "-ldl", "-lpthread"],
            check=True,
        )  # fmt: skip
        for name in LOADED_AS:
            (library.parent / name).symlink_to(library.name)
        try:
            os.rename(library.parent, folder)
        except OSError:  # another process built it in the meantime
            if not (folder / LOADED_AS[0]).exists():
                raise
    return folder


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _entry_points(torch: Path, triton: Path) -> set[str]:
    """Names that PyTorch's libraries leave open or ask for by name, and those in Triton's driver."""
    names: set[str] = set()
    for library in TORCH_LIBRARIES:
        path = torch / "lib" / library
        if path.exists():
            table = subprocess.run(["nm", "-D", "--undefined-only", path], check=True, capture_output=True, text=True)
            names |= {line.split()[-1].split("@")[0] for line in table.stdout.splitlines()}
    asked = re.findall(
        rb"(?<=\0)((?:cu|nvml)[A-Z][A-Za-z0-9_]+)(?=\0)", (torch / "lib" / "libc10_cuda.so").read_bytes()
    )
    names |= {name.decode() for name in asked}
    driver = (triton / "backends" / "nvidia" / "driver.c").read_text()
    names |= {name for name in re.findall(r"\bcu[A-Z][A-Za-z0-9_]+", driver) if not name.endswith("_t")}
    return {name for name in names if ENTRY_POINT.match(name) and not name.startswith("cuFile")}


def _answered(source: str) -> set[str]:
    return set(re.findall(r"^API\((\w+)", source, re.M)) | set(re.findall(r"^API_OF\([\w* ]+?, (\w+)", source, re.M))


def _runtime_headers() -> list[Path]:
    """Of the runtime that PyTorch runs on, where its package is installed: structs differ between CUDA releases."""
    if importlib.util.find_spec("nvidia") is None:
        return []
    folders = [_folder("nvidia") / name / "include" for name in ("cu13", "cuda_runtime")]
    return [folder for folder in folders if (folder / "driver_types.h").exists()]


def _cuda_release() -> int:
    """As the runtime says it: 13000 for 13.0. PyTorch's own build, not the header's."""
    from torch.version import cuda

    major, minor = str(cuda).split(".")[:2]
    return int(major) * 1000 + int(minor) * 10


def _cudnn_release() -> int:
    """As cuDNN says it: 91900 for 9.19.0; what is installed."""
    for package in ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"):
        try:
            major, minor, patch = importlib.metadata.version(package).split(".")[:3]
        except importlib.metadata.PackageNotFoundError:
            continue
        return int(major) * 10000 + int(minor) * 100 + int(patch)
    return 90000
