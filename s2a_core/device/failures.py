"""Which errors mean that a device had no memory left, and what is kept of that moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

# The words of every library that a step goes through. CUDA errors of launches and contexts, cuBLAS and cuDNN handles
# and workspaces, Triton's driver (which raises plain RuntimeError), and the CPU's allocator.
_WORDS = re.compile(
    r"CUDA (driver )?error: out of memory|CUDA out of memory|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED when calling .?cublasCreate"  # as cuBLAS says it
    r"|CUDNN_STATUS_(ALLOC_FAILED|INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)"
    r"|CUSOLVER_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
    r"|Triton Error \[CUDA\]: out of memory|can't allocate memory"
)
_DEVICE = re.compile(r"CUDA (driver )?error|cuDNN error|Triton Error|PassManager::run failed|NCCL error")
_ASKED = re.compile(r"[Tt]ried to allocate ([0-9.]+) (bytes|KiB|MiB|GiB)|allocate (\d+) bytes")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device, or the CPU's allocator, had no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


def is_device_failure(error: BaseException) -> bool:
    """Whether an error comes from a device, its driver or its libraries, and says nothing about shapes."""
    return isinstance(error, torch.AcceleratorError) or _DEVICE.match(str(error)) is not None


def asked_bytes(message: str) -> int:
    """The size in PyTorch's message ("Tried to allocate 20.00 MiB"); 0 where none is said, as for a context."""
    match = _ASKED.search(message)
    if match is None:
        return 0
    return int(match[3]) if match[3] else round(float(match[1]) * _UNITS[match[2]])


@dataclass(frozen=True)
class MemoryAtFailure:
    """A device as an allocation failed, in bytes. held: by this process; asked: 0 where the error does not say.

    free_bytes: left on the device, None where that is not known; users: pid -> bytes of the other processes NVML lists.
    """

    held_bytes: int
    asked_bytes: int
    budget_bytes: int
    free_bytes: int | None
    total_bytes: int | None = None
    users: Mapping[int, int] = field(default_factory=dict)

    @property
    def is_device_full(self) -> bool:
        """Whether the device itself, no cap, had less than what was asked for: neighbours hold the rest."""
        return self.free_bytes is not None and self.free_bytes < max(self.asked_bytes, 1)

    def to_json(self) -> dict[str, Any]:
        """The fields, pids as text."""
        return {**asdict(self), "users": {str(pid): size for pid, size in self.users.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MemoryAtFailure:
        """What `to_json` wrote; other entries of the document are left out."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**{**known, "users": {int(pid): size for pid, size in known.get("users", {}).items()}})
