"""The queue on a device without silicon: the real service and runner, trainings that only take memory by a script."""

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

MIB = 2**20
DEVICE_MIB, CONTEXT_MIB, RESERVE_MIB, BUDGET_MIB = 4096, 300, 512, 900
WAIT_S = 240.0  # a busy machine takes its time; every wait is for a condition
SETTINGS: dict[str, Any] = {
    "poll_s": 0.1, "renew_s": 0.3, "run_workers": False, "cuda_reserve_bytes": RESERVE_MIB * MIB, "capacity_bytes": 1,
}  # fmt: skip
FILL = """
import sys, time, torch
torch.zeros(1, device="cuda")
free, _ = torch.cuda.mem_get_info()
held = torch.empty(free - (int(sys.argv[1]) << 20), dtype=torch.uint8, device="cuda")
print("full", flush=True)
time.sleep(900)
"""
pytestmark = [pytest.mark.fakegpu, pytest.mark.slow, pytest.mark.timeout(900)]
Step = dict[str, Any]


class Queue:
    """A service on one device whose jobs follow scripts."""

    def __init__(self, gpus: FakeDevices, folder: Path) -> None:
        self.gpus, self.scripts, self.num_jobs = gpus, folder / "scripts", 0
        self.scripts.mkdir()
        command = json.dumps([sys.executable, "-m", "tests.fakegpu.pretended_runner", str(self.scripts)])
        self.service = RunningService(folder / "s2a", runner_command=command, **SETTINGS)

    def submit(self, *steps: Step) -> str:
        """Queue a job of BUDGET_MIB that does these steps."""
        self.num_jobs += 1
        (self.scripts / f"{self.num_jobs}.json").write_text(json.dumps(steps))
        request = {"model": "s2a_tiny", "data": "digits", "budget": f"{BUDGET_MIB}MiB", "seed": self.num_jobs}
        return self.service.submit(**request, device="cuda")

    def go(self, name: str) -> None:
        """Let those who wait for this name go on."""
        (self.scripts / name).touch()

    def running(self, *jobs: str) -> list[str]:
        return [job for job in jobs if self.service.job(job)["status"] == "running"]

    def succeeds(self, job: str) -> dict[str, Any]:
        """The job once it has ended, which must be well."""
        ended = self.service.wait_until(job, "succeeded", "failed", seconds=WAIT_S)
        assert ended["status"] == "succeeded", ended["reason"]
        return ended

    def faults(self, job: str) -> list[str]:
        """Whose fault the end of each attempt was that did not succeed."""
        reasons = [event.get("reason") or {} for event in self.service.events(job) if event["type"] == "queued"]
        return [reason["details"]["fault"] for reason in reasons if "fault" in reason.get("details", {})]

    def device(self) -> dict[str, Any]:
        def known() -> dict[str, Any] | None:
            items = self.service.call("GET", "/v1/devices")["items"]
            return next((device for device in items if device["kind"] == "cuda"), None)

        return dict(wait_for(known, WAIT_S, "the device is known"))

    def holds(self, num_mib: int) -> bool:
        """Whether some living process holds so much of the device."""
        return any(use.held_bytes >= num_mib * MIB for use in self.gpus.uses())

    def fill(self, left_mib: int) -> subprocess.Popen[str]:
        """A process of nobody's that takes what is free but for so much."""
        process = self.gpus.start([sys.executable, "-c", FILL, str(left_mib)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        return process

    def is_empty(self) -> bool:
        """Nothing is held of the device, by the device's count and by the service's."""
        if any(use.held_bytes for use in self.gpus.uses()):
            return False
        device = self.device()
        others_bytes = device["baseline_bytes"] + device["used_by_others_bytes"]
        return (device["state"], device["reserved_bytes"], others_bytes) == ("ready", 0, 0)

    def ends_empty(self) -> None:
        wait_for(self.is_empty, WAIT_S, "nothing is held")


@pytest.fixture
def queue(
    request: pytest.FixtureRequest,
    fake_devices: Callable[..., FakeDevices],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Queue]:
    """A running one. Parameters: options of the devices."""
    options = getattr(request, "param", {})
    gpus = fake_devices(device_mib=DEVICE_MIB, context_mib=CONTEXT_MIB, **options)
    for name, value in gpus.environment().items():
        monkeypatch.setenv(name, value)
    made = Queue(gpus, tmp_path)
    made.service.start()
    yield made
    made.service.stop()


HIDDEN = pytest.mark.parametrize(
    "queue", [{"has_nvml_processes": True}, {"has_nvml_processes": False}], indirect=True, ids=["listed", "hidden"]
)


@HIDDEN
def test_jobs_start_as_room_appears_and_earlier_where_plans_shrink_reservations(queue: Queue) -> None:
    """900 MiB each of 3,584: three at once; a fourth and a fifth as soon as plans of 500 MiB have come home."""
    steps = ({"take": 100}, {"wait": "planned"}, {"plan": 500}, {"wait": "end"})
    jobs = [queue.submit(*steps) for _ in range(5)]
    wait_for(lambda: len(queue.running(*jobs)) == 3, WAIT_S, "three run")
    wait_for(lambda: sum(use.held_bytes >= 400 * MIB for use in queue.gpus.uses()) == 3, WAIT_S, "three hold memory")
    assert queue.device()["reserved_bytes"] == 3 * BUDGET_MIB * MIB
    waiting = next(job for job in jobs if job not in queue.running(*jobs))
    reason = queue.service.job(waiting)["reason"]
    assert reason["code"] == "waiting_for_memory", reason
    assert len(reason["details"]["devices"][0]["held_by"]) == 3
    queue.go("planned")
    wait_for(lambda: len(queue.running(*jobs)) == 5, WAIT_S, "all five run: none has ended")
    assert queue.device()["context_bytes"] == CONTEXT_MIB * MIB
    queue.go("end")
    for job in jobs:
        queue.succeeds(job)
    uses = queue.gpus.uses()
    assert len(uses) == 5
    assert max(use.peak_bytes for use in uses) <= 500 * MIB
    queue.ends_empty()


def test_a_killed_job_gives_its_memory_back_and_is_tried_again(queue: Queue) -> None:
    jobs = [queue.submit({"take": 400}, {"once": f"first{n}", "wait": "never"}) for n in range(2)]
    wait_for(lambda: sum(use.held_bytes >= 700 * MIB for use in queue.gpus.uses()) == 2, WAIT_S, "both hold memory")
    for process in queue.service.runners():
        process.kill()
    for job in jobs:
        assert queue.succeeds(job)["attempts"] == 2
    assert len(queue.gpus.uses()) == 4
    queue.ends_empty()


def test_a_job_above_its_cap_takes_no_more_than_it_and_is_planned_tighter(queue: Queue) -> None:
    job = queue.submit({"take": 400}, {"once": "greedy", "take": 2000})
    other = queue.submit({"take": 400}, {"wait": "end"})
    ended = queue.succeeds(job)
    assert (ended["attempts"], queue.running(other)) == (2, [other])
    queue.go("end")
    queue.succeeds(other)
    assert max(use.peak_bytes for use in queue.gpus.uses()) <= BUDGET_MIB * MIB
    assert queue.faults(job) == ["memory"]
    report = queue.service.job(job)["report"]
    assert report["budget_bytes"] < BUDGET_MIB * MIB  # what the second attempt was planned with
    queue.ends_empty()


@HIDDEN
def test_a_job_whose_memory_a_stranger_took_is_tried_again_without_charge(queue: Queue) -> None:
    job = queue.submit({"take": 100}, {"once": "asks", "wait": "full"}, {"take": 300})
    wait_for(lambda: queue.holds(400), WAIT_S, "it holds memory")
    filler = queue.fill(left_mib=64)
    try:
        queue.go("full")
        wait_for(lambda: queue.service.job(job)["status"] == "queued", WAIT_S, "it is queued again")
        waits = queue.service.job(job)
        assert waits["attempts"] == 1
        wait_for(lambda: queue.device()["used_by_others_bytes"] > 3000 * MIB, WAIT_S, "the stranger is not one of ours")
    finally:
        filler.kill()
        filler.communicate()
    ended = queue.succeeds(job)
    assert ended["attempts"] == 2
    assert queue.faults(job) == ["neighbour"]
    queue.ends_empty()


def test_a_card_that_is_full_before_the_context_is_made_is_tried_again_without_charge(queue: Queue) -> None:
    queue.go("hold")
    job = queue.submit({"take": 300})
    wait_for(queue.service.runners, WAIT_S, "its process waits before it makes a context")
    filler = queue.fill(left_mib=100)
    try:
        (queue.scripts / "hold").unlink()
        queue.go("go")
        wait_for(lambda: queue.service.job(job)["status"] == "queued", WAIT_S, "it is queued again")
    finally:
        filler.kill()
        filler.communicate()
    assert queue.succeeds(job)["attempts"] == 2
    assert queue.faults(job) == ["neighbour"]
    queue.ends_empty()
