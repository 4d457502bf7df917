"""One CUDA device as this process has it: its context, the allocator's cap, the libraries' workspaces, its failures.

Device bytes are everything the process holds of the device, as NVML counts it: the context, the code of loaded kernels,
every segment the allocator reserves and the workspaces of cuBLAS and cuDNN. A budget on CUDA is in that unit.
"""

from s2a_core.device.at_failure import memory_at_failure
from s2a_core.device.failures import MemoryAtFailure, is_device_failure, is_out_of_memory
from s2a_core.device.memory import DeviceMemory, device_memory, device_of, open_device, release_cached, reset_peak

__all__ = [
    "DeviceMemory",
    "MemoryAtFailure",
    "device_memory",
    "device_of",
    "is_device_failure",
    "is_out_of_memory",
    "memory_at_failure",
    "open_device",
    "release_cached",
    "reset_peak",
]
