"""The device without silicon counts what PyTorch, the driver and NVML would."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from tests.fakegpu.double import CONTEXTS_MIB, FakeDevices

pytestmark = [pytest.mark.fakegpu, pytest.mark.slow]
MIB = 2**20
Devices = Callable[..., FakeDevices]

ONE_TENSOR = """
import json, torch
x = torch.empty(300 << 20, dtype=torch.uint8, device="cuda")
free, total = torch.cuda.mem_get_info()
print(json.dumps([torch.cuda.memory_reserved(), total - free]))
"""


@pytest.mark.parametrize("context_mib", CONTEXTS_MIB)
def test_a_process_holds_its_context_and_what_the_allocator_reserves(fake_devices: Devices, context_mib: int) -> None:
    outcome = fake_devices(context_mib=context_mib).python(ONE_TENSOR)
    reserved, used = outcome.document
    assert reserved == 300 * MIB
    assert outcome.use.context_bytes == context_mib * MIB
    assert outcome.use.peak_bytes == used == context_mib * MIB + reserved


def test_a_kernel_takes_its_code_once_and_every_launch_is_counted(fake_devices: Devices) -> None:
    code = """
import torch
x = torch.empty(4, device="cuda")
for _ in range(5):
    x.add_(1)
x.cpu()
"""
    use = fake_devices(context_mib=256, kernel_kib=64).python(code).use
    assert use.peak_bytes == (256 + 2) * MIB + 64 * 1024
    assert use.launches == 5
    assert use.copies_to_host == 1
    assert use.syncs >= 1


def test_pytorch_runs_out_of_memory_where_the_card_ends(fake_devices: Devices) -> None:
    code = """
import json, torch
try:
    torch.empty(3 << 30, dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError as error:
    print(json.dumps(str(error)))
"""
    outcome = fake_devices(device_mib=2048).python(code)
    assert "CUDA out of memory. Tried to allocate 3.00 GiB" in outcome.document
    assert outcome.use.refused >= 1


def test_a_context_needs_room_too(fake_devices: Devices) -> None:
    outcome = fake_devices(device_mib=400, context_mib=426).python("import torch; torch.ones(1, device='cuda')")
    assert outcome.returncode == 1
    assert "CUDA error: out of memory" in outcome.stderr
    assert outcome.uses == ()


def test_a_tensor_on_one_device_holds_nothing_of_the_other(fake_devices: Devices) -> None:
    uses = fake_devices(num_devices=2).python("import torch; torch.ones(1, device='cuda:1')").uses
    assert [use.device for use in uses] == [1]


def test_visible_devices_are_renumbered_by_index_and_by_uuid(fake_devices: Devices) -> None:
    code = "import json, torch; torch.ones(1, device='cuda'); print(json.dumps(torch.cuda.device_count()))"
    for visible in ("2", "GPU-03"):
        outcome = fake_devices(num_devices=4).python(code, env={"CUDA_VISIBLE_DEVICES": visible})
        assert outcome.document == 1
        assert outcome.use.device == 2


NVML = """
import json, os, pynvml, torch
torch.ones(1, device="cuda")
pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
own = [p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == os.getpid()]
print(json.dumps([own, pynvml.nvmlDeviceGetMemoryInfo(handle).used]))
"""


@pytest.mark.parametrize("has_processes", [True, False])
def test_nvml_sees_processes_or_only_the_sum(fake_devices: Devices, has_processes: bool) -> None:
    outcome = fake_devices(has_nvml_processes=has_processes).python(NVML)
    own, used = outcome.document
    assert own == ([used] if has_processes else [])
    assert used == outcome.use.peak_bytes


def test_a_killed_process_gives_everything_back_and_its_peak_stays_known(fake_devices: Devices) -> None:
    devices = fake_devices(device_mib=2048, context_mib=256)
    allocates = "import time, torch; x = torch.empty(1 << 30, dtype=torch.uint8, device='cuda'); "
    code = allocates + "print('up', flush=True); time.sleep(60)"
    with devices.start([sys.executable, "-c", code], stdout=-1) as process:
        assert process.stdout.readline() == "up\n"
        refused = devices.python(allocates)
        os.kill(process.pid, signal.SIGKILL)
    assert refused.returncode == 1
    assert devices.python(allocates).returncode == 0
    killed = devices.uses()[0]
    assert killed.has_ended
    assert (killed.peak_bytes, killed.held_bytes) == (1280 * MIB, 0)


def test_expandable_segments_map_what_is_asked_for(fake_devices: Devices) -> None:
    outcome = fake_devices().python(ONE_TENSOR, env={"PYTORCH_ALLOC_CONF": "expandable_segments:True"})
    reserved, used = outcome.document
    assert reserved == 300 * MIB
    assert used == outcome.use.peak_bytes == 726 * MIB


def test_a_triton_kernel_compiles_and_launches(fake_devices: Devices) -> None:
    code = """
import torch
from s2a_core.kernels.backend import mask_fwd
mask_fwd(torch.ones(1000, device="cuda"), "relu6")
"""
    outcome = fake_devices().python(code)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.use.launches >= 1


RECURRENT = """
import json, torch
net = torch.nn.{layer}
own = sum(4 * p.numel() for p in net.parameters())
net.cuda()
packed = {{p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in net.parameters()}}
y, _ = net(torch.zeros(3, 7, 32, device="cuda"))
y.sum().backward()
print(json.dumps([torch.backends.cudnn.version(), own, list(packed.values()), y.shape]))
"""


@pytest.mark.parametrize(
    ("layer", "outputs"),
    [
        ("LSTM(32, 64, num_layers=2, batch_first=True)", 64),
        ("GRU(32, 64, num_layers=2, batch_first=True, bidirectional=True)", 128),
        ("LSTM(32, 64, batch_first=True, proj_size=16)", 16),
    ],
)
def test_recurrent_networks_train_with_their_weights_packed_by_cudnn(
    fake_devices: Devices, layer: str, outputs: int
) -> None:
    outcome = fake_devices().python(RECURRENT.format(layer=layer))
    version, own, packed, shape = outcome.document
    assert version >= 90000
    assert packed == [own]  # one buffer that holds every number once
    assert shape == [3, 7, outputs]
