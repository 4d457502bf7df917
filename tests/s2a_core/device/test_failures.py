"""Every kind of out of memory is recognised, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from s2a_core.device.failures import asked_bytes, is_device_failure, is_out_of_memory
from tests.fakegpu.double import FakeDevices

OUT_OF_MEMORY = {
    "allocator": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has ..."),
    "launch": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    "driver": RuntimeError("CUDA driver error: out of memory"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cublas handle": RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    "cudnn": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cudnn 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "triton": RuntimeError("Triton Error [CUDA]: out of memory"),
    "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
    "python": MemoryError(),
}
OTHERS = {
    "shapes": RuntimeError("The size of tensor a (196) must match the size of tensor b (49)"),
    "launch": RuntimeError("CUDA error: an illegal memory access was encountered"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    "triton": RuntimeError("Triton Error [CUDA]: invalid argument"),
    "shared memory": RuntimeError("out of resource: shared memory, Required: 262144, Hardware limit: 101376"),
    "words": ValueError("CUDA out of memory"),
}


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_it_is_out_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_it_is_something_else(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_a_failing_device_says_nothing_about_shapes() -> None:
    assert is_device_failure(OTHERS["launch"])
    assert is_device_failure(OTHERS["triton"])
    assert not is_device_failure(OTHERS["shapes"])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB.", 20 * 2**20),
        ("can't allocate memory: you tried to allocate 4096 bytes.", 4096),
        ("CUDA error: out of memory", 0),
    ],
)
def test_the_size_that_was_asked_for_is_read_from_the_message(message: str, expected: int) -> None:
    assert asked_bytes(message) == expected


RUNS_OUT = {
    "allocator": ({"device_mib": 1024}, "torch.empty(1 << 30, dtype=torch.uint8, device='cuda')"),
    "context": ({"device_mib": 300, "context_mib": 426}, "torch.empty(1, device='cuda')"),
    "launch": (
        {"device_mib": 430, "kernel_kib": 4096},
        "torch.empty(1, device='cuda').add_(1)",
    ),
    "cublas": (
        {"device_mib": 480, "library_mib": 64},
        "x = torch.empty(64, 64, device='cuda'); x @ x",
    ),
    "cudnn": (
        {"device_mib": 480, "library_mib": 64},
        "torch.nn.functional.conv2d(torch.empty(1, 3, 8, 8, device='cuda'), torch.empty(4, 3, 3, 3, device='cuda'))",
    ),
    "triton": (
        {"device_mib": 430, "kernel_kib": 4096},
        "x = torch.empty(1000, device='cuda'); from s2a_core.kernels.backend import mask_fwd; mask_fwd(x, 'relu6')",
    ),
}


@pytest.mark.fakegpu
@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS_OUT)
def test_what_really_happens_on_a_full_device_is_recognised(
    fake_devices: Callable[..., FakeDevices], kind: str
) -> None:
    options, code = RUNS_OUT[kind]
    program = f"""
import json, torch
from s2a_core.device import is_out_of_memory
try:
    {code}
except Exception as error:
    print(json.dumps([is_out_of_memory(error), f"{{type(error).__name__}}: {{error}}"[:200]]))
"""
    outcome = fake_devices(**options).python(program)
    is_recognised, words = outcome.document
    assert is_recognised, words
