"""Jobs on a CUDA device without silicon: who holds what is read off the driver, also where that hides processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakegpu.double import FakeDevices
from tests.faults.service import RunningService, wait_for
from tests.faults.test_faults import QUICK

MIB = 2**20
DEVICE_MIB, CONTEXT_MIB, RESERVE_MIB = 4096, 300, 512
FILL = "import sys, time, torch; held = torch.empty(2500 << 20, dtype=torch.uint8, device='cuda'); print(1, flush=True)"
REQUEST = {"model": "s2a_tiny", "data": "digits", "batch_size": 16, "adapter": "bias", "precision": "bf16"}
pytestmark = [pytest.mark.fakegpu, pytest.mark.slow, pytest.mark.timeout(1200)]
Start = Callable[..., RunningService]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """started(gpus, **settings): a service on these devices."""
    made: list[RunningService] = []

    def start(gpus: FakeDevices, **settings: Any) -> RunningService:
        for name, value in gpus.environment().items():
            monkeypatch.setenv(name, value)
        made.append(RunningService(tmp_path / "s2a", **settings))
        return made[-1].start()

    yield start
    for service in made:
        service.stop()


def gpu(service: RunningService) -> dict[str, Any]:
    """The device as the API shows it, once it is known."""

    def known() -> dict[str, Any] | None:
        items = service.call("GET", "/v1/devices")["items"]
        return next((device for device in items if device["kind"] == "cuda"), None)

    return dict(wait_for(known, 30, "the device is known"))


def others_bytes(service: RunningService) -> int:
    device = gpu(service)
    return int(device["baseline_bytes"] + device["used_by_others_bytes"])


@pytest.mark.parametrize("has_nvml_processes", [True, False], ids=["processes listed", "processes hidden"])
def test_a_card_that_a_stranger_fills_is_waited_for_and_lent_once_it_is_free(
    fake_devices: Callable[..., FakeDevices], started: Start, has_nvml_processes: bool
) -> None:
    gpus = fake_devices(device_mib=DEVICE_MIB, context_mib=CONTEXT_MIB, has_nvml_processes=has_nvml_processes)
    filler = gpus.start([sys.executable, "-c", f"{FILL}; time.sleep(900)"], stdout=subprocess.PIPE)
    try:
        assert filler.stdout.readline() == "1\n"
        service = started(gpus, **QUICK)
        assert gpu(service)["context_bytes"] > 0
        assert others_bytes(service) >= (2500 + CONTEXT_MIB) * MIB
        job = service.submit(model="s2a_tiny", data="digits", budget="1500MiB", epochs=1, seed=10)
        wait_for(lambda: service.job(job)["reason"]["code"] == "no_device", 60, "no device has that much left")
        assert not service.runners()
    finally:
        filler.kill()
        filler.communicate()
    ended = service.wait_until(job, "succeeded", "failed", seconds=90)
    assert ended["status"] == "succeeded", ended["reason"]
    assert gpu(service)["state"] == "ready"
    wait_for(lambda: (gpu(service)["reserved_bytes"], others_bytes(service)) == (0, 0), 30, "nothing is held")


@pytest.mark.parametrize("visible", ["1", "", None])
def test_a_service_offers_the_devices_that_it_may_see_under_their_own_numbers(
    fake_devices: Callable[..., FakeDevices], started: Start, visible: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus = fake_devices(num_devices=2, device_mib=DEVICE_MIB, context_mib=CONTEXT_MIB)
    service = started(gpus, **{**QUICK, "runner_command": json.dumps([sys.executable, "-c", "pass"])})
    wait_for(lambda: service.call("GET", "/v1/devices")["items"], 30, "devices are known")
    names = sorted(device["name"] for device in service.call("GET", "/v1/devices")["items"])
    assert names == {"1": ["cpu", "cuda:1"], "": ["cpu"], None: ["cpu", "cuda:0", "cuda:1"]}[visible]


def test_four_real_jobs_start_as_room_appears_and_each_stays_inside_its_reservation(
    fake_devices: Callable[..., FakeDevices], started: Start
) -> None:
    """900 MiB each of 3,584: the fourth fits only because the plans of others came home."""
    gpus = fake_devices(device_mib=DEVICE_MIB, context_mib=CONTEXT_MIB)
    service = started(gpus, renew_s=1.0, poll_s=0.2, cuda_reserve_bytes=RESERVE_MIB * MIB, run_workers=False)
    four = [service.submit(**REQUEST, budget="900MiB", epochs=3) for _ in range(4)]
    wait_for(lambda: len([job for job in four if service.job(job)["status"] == "running"]) == 3, 30, "three run")
    assert gpu(service)["reserved_bytes"] == 3 * 900 * MIB
    ended = [service.wait_until(job, "succeeded", "failed", seconds=900) for job in four]
    assert [job["status"] for job in ended] == ["succeeded"] * 4, [job["reason"] for job in ended]
    assert gpu(service)["context_bytes"] == CONTEXT_MIB * MIB
    retried = [service.events(job["id"]) for job in ended if job["attempts"] != 1]
    assert not retried, retried
    uses = gpus.uses()
    assert len(uses) == 4, uses
    assert max(use.peak_bytes for use in uses) <= 900 * MIB
    wait_for(lambda: (gpu(service)["reserved_bytes"], others_bytes(service)) == (0, 0), 60, "nothing is held")


def test_a_training_that_takes_more_than_its_plan_is_refused_at_its_cap_and_goes_on_with_what_was_missing(
    fake_devices: Callable[..., FakeDevices], started: Start
) -> None:
    """The plan leaves most of the budget, which goes back to the queue; the second attempt reserves 60 MiB more.

    Before the first one gives up it may plan again within its cap.
    """
    gpus = fake_devices(device_mib=DEVICE_MIB, context_mib=CONTEXT_MIB)
    greedy = json.dumps([sys.executable, "-m", "tests.fakegpu.greedy_runner", "60"])
    service = started(gpus, runner_command=greedy, renew_s=1.0, poll_s=0.2, run_workers=False)
    job = service.submit(**REQUEST, budget="900MiB", epochs=1)
    ended = service.wait_until(job, "succeeded", "failed", seconds=900)
    assert ended["status"] == "succeeded", ended["reason"]
    events = service.events(job)
    reserved = [(event["attempt"], event["reserved_bytes"]) for event in events if event["type"] == "reservation"]
    first, second = ([size for attempt, size in reserved if attempt == number] for number in (1, 2))
    held = [use.peak_bytes for use in gpus.uses()]
    assert ended["attempts"] == len(held) == 2
    assert held[0] <= first[0] < held[1] <= second[0] < 900 * MIB
    missed = next(event["reason"]["details"] for event in events if event["type"] == "queued" and "reason" in event)
    assert missed["fault"] == "memory"
    assert missed["memory"]["asked_bytes"] == 60 * MIB
    assert missed["memory"]["held_bytes"] <= missed["memory"]["budget_bytes"] == first[-1]
    resumed = [event["attempt"] for event in events if event["type"] == "resumed"]
    assert resumed[-1] == 2
    wait_for(lambda: (gpu(service)["reserved_bytes"], others_bytes(service)) == (0, 0), 60, "nothing is held")
