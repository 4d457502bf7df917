"""Attempts are adopted, lost, retried and settled once, and their memory is freed only when the process is gone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.executors.base import DeviceReading, Look, ProcessState
from app.executors.supervisor import Supervisor
from app.models import Attempt
from app.queue.scheduler import Scheduler
from app.services.jobs import job_folder
from app.settings import Settings
from app.store import attempts, jobs
from tests.app.conftest import PretendExecutor


class Runner:
    """What a process would say for its attempt."""

    def __init__(self, service: TestClient, launched: dict[str, Any]) -> None:
        self.service, self.url = service, f"/v1/runner/attempts/{launched['attempt']}"
        self.headers = {"Authorization": f"Bearer {launched['token']}"}

    def post(self, what: str, body: Any = None, epoch: int | None = None) -> Any:
        """The answer."""
        headers = {**self.headers, **({"S2A-Epoch": str(epoch)} if epoch else {})}
        return self.service.post(f"{self.url}/{what}", json=body, headers=headers)


def live(scheduler: Scheduler) -> list[Attempt]:
    with scheduler.database.transaction() as session:
        return [attempt for attempt, _ in attempts.live(session)]


def job(service: TestClient, job_id: str) -> dict[str, Any]:
    return dict(service.get(f"/v1/jobs/{job_id}").json())


def test_a_silent_attempt_is_lost_killed_and_tried_again_under_a_new_epoch(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    scheduler.tick()
    scheduler.supervisor.clock = lambda: time.time() + settings.launch_s + settings.lease_s + 1
    scheduler.supervisor.round()
    assert executor.killed == [1]
    found = job(service, job_id)
    assert (found["status"], found["reason"]["code"]) == ("queued", "lease_expired")
    scheduler.tick()
    assert [attempt.epoch for attempt in live(scheduler)] == [2]
    assert Runner(service, executor.launched[0]).post("heartbeat").status_code in (409, 410)
    assert Runner(service, executor.launched[1]).post("heartbeat", epoch=2).status_code == 200
    assert Runner(service, executor.launched[1]).post("heartbeat", epoch=1).status_code in (409, 410)


def test_a_lease_that_ran_out_before_its_machine_was_known_to_be_down_is_the_machines_end(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    scheduler.tick()
    executor.looks[1] = Look(ProcessState.UNKNOWN)
    executor.at_kill = lambda: executor.looks.update({1: Look(ProcessState.HOST_GONE)})
    scheduler.supervisor.clock = lambda: time.time() + settings.launch_s + settings.lease_s + 1
    scheduler.supervisor.round()
    found = job(service, job_id)
    assert (found["status"], found["reason"]["code"], found["reason"]["details"]["fault"]) == (
        "queued", "host_gone", "host",
    )  # fmt: skip


def test_a_heartbeat_keeps_the_lease_and_an_idle_loop_is_stuck_all_the_same(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    scheduler.tick()
    runner = Runner(service, executor.launched[0])
    assert runner.post("heartbeat", {"idle_s": 5.0}).json()["stop"] is False
    scheduler.supervisor.round()
    assert job(service, job_id)["status"] == "running"
    runner.post("heartbeat", {"idle_s": settings.stuck_s + 1})
    scheduler.supervisor.round()
    found = job(service, job_id)
    assert (found["status"], found["reason"]["code"], found["reason"]["details"]["fault"]) == ("queued", "stuck", "own")


def test_a_reservation_stays_until_the_process_is_proven_gone(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    first, second = submit(budget="90MiB"), submit(budget="90MiB")
    scheduler.tick()
    executor.is_unkillable = True
    service.post(f"/v1/jobs/{first}/cancel")
    scheduler.tick()
    assert job(service, first)["status"] == "cancelling"
    assert job(service, second)["status"] == "queued"
    executor.is_unkillable = False
    scheduler.tick()
    assert (job(service, first)["status"], job(service, second)["status"]) == ("cancelled", "running")


def test_a_job_that_ended_holds_its_memory_until_its_process_left(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    scheduler.tick()
    Runner(service, executor.launched[0]).post("state", {"status": "succeeded", "report": {}})
    scheduler.supervisor.round()
    assert job(service, job_id)["status"] == "succeeded"
    assert len(live(scheduler)) == 1
    executor.dead.add(1)
    scheduler.supervisor.round()
    assert live(scheduler) == []
    assert [e["type"] for e in service.get(f"/v1/jobs/{job_id}/events").json()["items"]].count("succeeded") == 1


def test_words_left_in_the_spool_are_stored_once_and_a_last_word_there_ends_the_job(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    scheduler.tick()
    said = [{"type": "step", "payload": {"step": n, "loss": 1.0}} for n in range(4)]
    Runner(service, executor.launched[0]).post("events", {"first": 0, "events": said[:2]})
    word = {"type": "last_word", "payload": {"status": "succeeded", "reason": None, "report": {"accuracy": 1.0}}}
    lines = [json.dumps({"n": n, "at": 1.0, **record}) for n, record in enumerate([*said, word])]
    spool = job_folder(settings.data_dir, job_id) / "spool-1.jsonl"
    spool.parent.mkdir(parents=True, exist_ok=True)
    spool.write_text("\n".join([*lines, '{"torn']))
    executor.dead.add(1)
    scheduler.supervisor.round()
    found = job(service, job_id)
    assert (found["status"], found["report"]) == ("succeeded", {"accuracy": 1.0})
    events = service.get(f"/v1/jobs/{job_id}/events").json()["items"]
    assert [e["step"] for e in events if e["type"] == "step"] == [0, 1, 2, 3]
    assert live(scheduler) == []


def test_a_restarted_service_gives_every_lease_its_time_again_and_finds_a_process_without_a_handle(
    submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    submit()
    scheduler.tick()
    with scheduler.database.transaction() as session:
        for attempt, _ in attempts.live(session):
            attempt.lease_expires_at, attempt.handle = time.time() - 1000, None
    again = Supervisor(scheduler.database, settings, executor)
    again.adopt()
    again.round()
    assert executor.killed == []
    (attempt,) = live(scheduler)
    assert (attempt.handle or {})["pid"] == 1
    assert (attempt.lease_expires_at or 0) > time.time()


def test_an_attempt_that_was_claimed_and_never_launched_is_queued_again(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    with scheduler.database.transaction() as session:
        from app.store import jobs

        attempts.claim(session, jobs.listed(session, None, "queued", 1, None)[0][0], "hash")
    scheduler.supervisor.round()
    assert job(service, job_id)["status"] == "running"
    scheduler.supervisor.clock = lambda: time.time() + settings.launch_s + 1
    scheduler.supervisor.round()
    assert (job(service, job_id)["status"], job(service, job_id)["reason"]["code"]) == ("queued", "never_started")


def test_a_launch_that_fails_is_an_infrastructure_fault(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(executor, "launch", fail)
    job_id = submit()
    scheduler.tick()
    found = job(service, job_id)
    assert (found["status"], found["reason"]["code"]) == ("queued", "launch_failed")
    assert "No space left" in found["reason"]["message"]
    assert live(scheduler) == []


def test_a_job_that_takes_its_host_down_twice_stops(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    for pid in (1, 2):
        scheduler.tick()
        executor.looks[pid] = Look(ProcessState.HOST_GONE)
        scheduler.supervisor.round()
    assert (job(service, job_id)["status"], job(service, job_id)["reason"]["code"]) == ("failed", "host_killed")


def test_own_memory_is_retried_under_a_tighter_budget_three_times(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit(budget="64MiB")
    budgets = []
    for pid in range(1, 5):
        scheduler.tick()
        runner = Runner(service, executor.launched[-1])
        asked = runner.service.get(f"{runner.url}/request", headers=runner.headers).json()
        budgets.append(asked["request"]["budget_bytes"] / 2**20)
        reason = {"code": "out_of_memory", "message": "no memory", "details": {}}
        verdict = {"fault": "memory", "code": "out_of_memory", "excess_bytes": 8 * 2**20 if pid == 1 else 0}
        assert runner.post("state", {"status": "failed", "reason": reason, "verdict": verdict}).status_code == 200
        executor.dead.add(pid)
        scheduler.supervisor.round()
        assert job(service, job_id)["status"] == ("queued" if pid < 4 else "failed")
    assert budgets == [64, 56, pytest.approx(52.8, abs=1e-3), pytest.approx(49.6, abs=1e-3)]
    found = job(service, job_id)["reason"]
    assert (found["code"], found["details"]["oom_retries"]) == ("out_of_memory", 4)


def test_a_neighbours_memory_is_not_charged_and_the_neighbour_is_named(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    victim, culprit = submit(budget="40MiB"), submit(budget="40MiB")
    scheduler.tick()
    verdict = {"fault": "neighbour", "code": "out_of_memory", "users": {"2": 50 * 2**20}}
    reason = {"code": "out_of_memory", "message": "no memory", "details": {}}
    body = {"status": "failed", "reason": reason, "verdict": verdict}
    Runner(service, executor.launched[0]).post("state", body)
    executor.dead.add(1)
    scheduler.supervisor.round()
    found = job(service, victim)
    assert found["status"] == "queued"
    (named,) = found["reason"]["details"]["verdict"]["culprits"]
    assert (named["job"], named["excess_bytes"]) == (culprit, 10 * 2**20)


def test_a_neighbour_of_another_team_is_told_by_its_bytes_only(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    state = service.app.state  # type: ignore[attr-defined]
    victim = submit(budget="40MiB")
    theirs = {"Authorization": f"Bearer {state.services.keys.create('team-b', 'write')}"}
    body = {"model": "s2a_tiny", "data": "digits", "budget": "40MiB"}
    assert service.post("/v1/jobs", json=body, headers=theirs).status_code == 201
    scheduler.tick()
    first = next(index for index, run in enumerate(executor.launched) if run["pid"] == _pid_of(scheduler, victim))
    other = executor.launched[1 - first]["pid"]
    verdict = {"fault": "neighbour", "code": "out_of_memory", "users": {str(other): 50 * 2**20}}
    said = {"status": "failed", "reason": {"code": "out_of_memory", "message": "m", "details": {}}, "verdict": verdict}
    Runner(service, executor.launched[first]).post("state", said)
    (attempt,) = service.get(f"/v1/jobs/{victim}/attempts").json()["items"]
    (culprit,) = attempt["verdict"]["culprits"]
    assert (culprit["job"], culprit["reserved_bytes"], culprit["bytes"]) == (None, 40 * 2**20, 50 * 2**20)


def _pid_of(scheduler: Scheduler, job_id: str) -> int:
    (attempt,) = [attempt for attempt in live(scheduler) if attempt.job_id == job_id]
    return int((attempt.handle or {})["pid"])


def test_a_device_whose_memory_stays_away_is_quarantined(
    submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    from app.models import Device

    submit()
    scheduler.supervisor.residue.patience_s = 0.0
    with scheduler.database.transaction() as session:
        session.add(Device(id="dev", worker="w", kind="cuda", name="cuda:0", capacity_bytes=2**40))
    with scheduler.database.transaction() as session:
        from app.store import jobs

        attempt = attempts.claim(session, jobs.listed(session, None, "queued", 1, None)[0][0], "hash", device_id="dev")
    executor.readings = [DeviceReading("w", "cuda", "cuda:0", 2**40, used_bytes=0)]
    scheduler.supervisor.adopt()
    assert scheduler.supervisor.launch(attempt.id, "token")
    assert executor.launched[0]["device"] == "w/cuda:0"
    executor.readings = [DeviceReading("w", "cuda", "cuda:0", 2**40, used_bytes=2**30)]
    executor.dead.add(1)
    scheduler.supervisor.round()
    assert live(scheduler) == []
    with scheduler.database.transaction() as session:
        device = attempts.device(session, "dev")
        assert device is not None
        assert (device.state, (device.reason or {})["code"]) == ("quarantined", "memory_not_returned")


def test_a_preempted_job_waits_again_and_a_paused_one_stays_paused(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    preempted, paused = submit(budget="40MiB"), submit(budget="40MiB")
    scheduler.tick()
    service.post(f"/v1/jobs/{paused}/pause")
    with scheduler.database.transaction() as session:
        from app.store import jobs

        found = jobs.find(session, preempted)
        assert found is not None
        found.status, found.reason = "pausing", {"code": "preempted", "message": "m", "details": {}}
    scheduler.supervisor.round()
    assert (job(service, preempted)["status"], job(service, paused)["status"]) == ("queued", "paused")
    assert sorted(executor.killed) == [1, 2]


def test_the_command_names_attempt_epoch_and_output(
    submit: Any, settings: Settings, scheduler: Scheduler, tmp_path: Path
) -> None:
    command = scheduler.supervisor._command("att_1", 3, tmp_path / "job")
    assert command[1:4] == ["-P", "-m", "app.runner"]
    assert command[4:] == [
        *["--attempt", "att_1", "--epoch", "3", "--url", settings.public_url],
        *["--output", str(tmp_path / "job" / "output")],
    ]


def test_a_slow_launch_holds_up_no_tick_and_is_not_taken_for_a_lost_one(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.executors.supervisor.ROUND_S", 0.05)
    executor: Any = scheduler.executor
    quick, may_start = executor.launch, threading.Event()

    def slow(*arguments: Any) -> Any:
        may_start.wait(30)
        return quick(*arguments)

    monkeypatch.setattr(executor, "launch", slow)
    submit(budget="10MiB")
    submit(budget="10MiB")
    scheduler.tick()
    scheduler.supervisor.clock = lambda: time.time() + settings.launch_s + 1
    scheduler.tick()
    assert executor.launched == []
    may_start.set()
    scheduler.supervisor.close()
    assert len(executor.launched) == 2
    late = time.time() + settings.launch_s + settings.lease_s
    assert all(attempt.lease_expires_at >= late for attempt in live(scheduler))  # it begins with the process
    assert [attempt.epoch for attempt in live(scheduler)] == [1, 1]
    assert all((attempt.handle or {})["executor"] == "pretend" for attempt in live(scheduler))


def test_what_is_launched_after_its_attempt_was_given_up_is_killed(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor: Any = scheduler.executor
    quick, other = executor.launch, Supervisor(scheduler.database, settings, PretendExecutor())
    other.clock = lambda: time.time() + settings.launch_s + 1

    def late(*arguments: Any) -> Any:
        other.round()  # a scheduler that took over gives the claim back
        return quick(*arguments)

    monkeypatch.setattr(executor, "launch", late)
    job_id = submit()
    scheduler.tick()
    scheduler.supervisor.close()
    assert (job(service, job_id)["status"], executor.killed) == ("queued", [1])


def until(is_so: Callable[[], bool]) -> bool:
    """Whether something comes about within ten seconds: ends are settled in threads of their own."""
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


@pytest.fixture
def silence(executor: PretendExecutor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """silence(*pids): a look at them returns only when they are killed or the test ends."""
    silent: set[int] = set()
    has_ended, quick = threading.Event(), executor.look

    def look(handle: dict[str, Any]) -> Look:
        if handle["pid"] in silent - executor.dead:
            has_ended.wait(60)
        return quick(handle)

    def silence(*pids: int) -> None:
        silent.update(pids)
        monkeypatch.setattr("app.executors.supervisor.ROUND_S", 0.3)

    monkeypatch.setattr(executor, "look", look)
    yield silence
    has_ended.set()


def test_silent_places_together_hold_up_a_round_once_and_the_others_are_looked_after(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor, silence: Callable[..., None]
) -> None:
    jobs = [submit(budget="10MiB") for _ in range(5)]
    scheduler.tick()
    silence(1, 2, 3, 4)
    executor.dead.add(5)
    start = time.monotonic()
    scheduler.supervisor.round()
    assert time.monotonic() - start < 20  # one after another they would take minutes
    assert until(lambda: job(service, jobs[4])["status"] == "queued")
    assert [job(service, job_id)["status"] for job_id in jobs[:4]] == ["running"] * 4


def test_a_silent_place_is_left_to_the_lease_and_to_the_users_wish(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, silence: Callable[..., None]
) -> None:
    lost, cancelled = submit(budget="10MiB"), submit(budget="10MiB")
    scheduler.tick()
    silence(1, 2)
    service.post(f"/v1/jobs/{cancelled}/cancel")
    scheduler.supervisor.round()
    assert until(lambda: job(service, cancelled)["status"] == "cancelled")
    assert job(service, lost)["status"] == "running"
    scheduler.supervisor.clock = lambda: time.time() + settings.launch_s + settings.lease_s + 1
    scheduler.supervisor.round()
    assert until(lambda: job(service, lost)["reason"]["code"] == "lease_expired")


def test_a_look_that_fails_stops_no_round(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, gone = submit(budget="10MiB"), submit(budget="10MiB")
    scheduler.tick()
    quick = executor.look
    executor.dead.add(2)

    def look(handle: dict[str, Any]) -> Look:
        if handle["pid"] == 1:
            raise ConnectionError("the cluster is away")
        return quick(handle)

    monkeypatch.setattr(executor, "look", look)
    scheduler.supervisor.round()
    assert until(lambda: job(service, gone)["status"] == "queued")
    assert job(service, broken)["status"] == "running"


def test_an_attempt_whose_process_is_still_searched_is_not_given_up(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit()
    scheduler.tick()
    with scheduler.database.transaction() as session:
        for attempt, _ in attempts.live(session):
            attempt.handle = None
    quick, may_answer = executor.find, threading.Event()

    def find(attempt_id: str) -> dict[str, Any] | None:
        may_answer.wait(60)
        return quick(attempt_id)

    monkeypatch.setattr(executor, "find", find)
    service.post(f"/v1/jobs/{job_id}/cancel")
    scheduler.supervisor.round()
    assert (job(service, job_id)["status"], executor.killed) == ("cancelling", [])
    may_answer.set()
    scheduler.supervisor.round()
    assert until(lambda: job(service, job_id)["status"] == "cancelled")
    assert executor.killed == [1]


def test_restarts_that_each_get_somewhere_never_use_up_a_jobs_retries(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    for number in range(1, 2 * settings.max_infra_retries + 1):
        scheduler.tick()
        resumed = {"type": "resumed", "payload": {"step": 10 * (number - 1)}}
        Runner(service, executor.launched[-1]).post("events", {"first": 0, "events": [resumed]})
        executor.dead.add(number)
        scheduler.supervisor.round()
        found = job(service, job_id)
        assert (found["status"], found["reason"]["details"].get("infra_retries")) == ("queued", 1)


def test_restarts_that_get_nowhere_do(
    service: TestClient, submit: Any, settings: Settings, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    for number in range(1, settings.max_infra_retries + 3):
        scheduler.tick()
        if len(executor.launched) == number:
            resumed = {"type": "resumed", "payload": {"step": 10 * (number > 1)}}
            Runner(service, executor.launched[-1]).post("events", {"first": 0, "events": [resumed]})
        executor.dead.add(number)
        scheduler.tick()
    assert job(service, job_id)["status"] == "failed"


@pytest.mark.parametrize("state", [ProcessState.GONE, ProcessState.HOST_GONE])
def test_an_orderly_stop_of_the_service_is_charged_to_nobody_however_often(
    state: ProcessState, service: TestClient, submit: Any, settings: Settings, executor: PretendExecutor
) -> None:
    job_id = submit()
    database = service.app.state.database  # type: ignore[attr-defined]
    for number in range(1, 6):
        running = Scheduler(database, settings, executor)
        running.tick()
        running.tick()
        assert job(service, job_id)["attempts"] == number, job(service, job_id)["reason"]
        running._thread.start()
        running.stop()
        executor.looks[number] = Look(state)
    last = Scheduler(database, settings, executor)
    last.tick()
    with database.reading() as session:
        found = jobs.look(session, job_id)
        assert (found.infra_retries, found.host_kills) == (0, 0)


def test_a_process_that_is_told_to_stop_together_with_the_service_is_left_to_the_next_one(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job_id = submit()
    scheduler.tick()
    executor.looks[1] = Look(ProcessState.GONE, 143)
    scheduler.begin_stop()
    scheduler.supervisor.round()
    assert job(service, job_id)["status"] == "running"
    assert len(live(scheduler)) == 1


def test_jobs_of_a_service_that_takes_them_along_are_stopped_with_it(
    submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    submit()
    scheduler.tick()
    scheduler.settings.stop_jobs = True
    scheduler._thread.start()
    scheduler.stop()
    assert executor.killed == [1]
