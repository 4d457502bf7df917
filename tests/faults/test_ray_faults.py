"""The same faults over a Ray cluster of three nodes, and what only a cluster has: a node that dies.

The tests of test_faults.py that no executor is special to are run again here, with the fixtures of this file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.store import attempts
from tests.app.executors.cluster import add_node, cluster_of
from tests.app.executors.contract import skip_without
from tests.faults.checks import check, database_of
from tests.faults.service import RunningService, wait_for
from tests.faults.test_faults import (
    EPOCHS,
    QUICK,
    ROUNDS,
    submit,
    test_a_database_that_was_stopped_and_started_loses_nothing,
    test_a_full_disk_under_the_spool_loses_nothing,
    test_a_job_that_ends_with_its_service_again_and_again_uses_up_no_retries,
    test_a_killed_child_of_a_runner_is_the_jobs_own_fault,
    test_a_killed_runner_is_tried_again_from_its_checkpoint,
    test_a_killed_scheduler_beside_an_api_is_followed_by_another,
    test_a_killed_service_loses_no_job,
    test_a_runner_that_goes_on_just_as_its_lease_ends_does_no_harm,
    test_a_runner_that_was_stopped_past_its_lease_does_no_harm_when_it_goes_on,
    test_a_service_that_is_away_past_the_fence_loses_nothing,
    test_a_service_that_takes_its_jobs_along_lets_them_write_a_checkpoint,
    test_two_schedulers_at_once_start_each_job_once,
    trains,
)

pytestmark = [pytest.mark.slow, skip_without("ray"), pytest.mark.timeout(120 + 60 * ROUNDS)]
OVER_RAY = (
    test_a_database_that_was_stopped_and_started_loses_nothing,
    test_a_full_disk_under_the_spool_loses_nothing,
    test_a_killed_child_of_a_runner_is_the_jobs_own_fault,
    test_a_killed_runner_is_tried_again_from_its_checkpoint,
    test_a_killed_scheduler_beside_an_api_is_followed_by_another,
    test_a_job_that_ends_with_its_service_again_and_again_uses_up_no_retries,
    test_a_killed_service_loses_no_job,
    test_a_runner_that_goes_on_just_as_its_lease_ends_does_no_harm,
    test_a_runner_that_was_stopped_past_its_lease_does_no_harm_when_it_goes_on,
    test_a_service_that_is_away_past_the_fence_loses_nothing,
    test_a_service_that_takes_its_jobs_along_lets_them_write_a_checkpoint,
    test_two_schedulers_at_once_start_each_job_once,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with cluster_of(3) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_left(cluster: Any) -> Iterator[None]:
    """After each test the cluster has no attempt's actor and every unit of its devices back."""
    yield
    import ray

    if not ray.is_initialized():
        ray.init(address=cluster.address, namespace="watcher", log_to_driver=False, configure_logging=False)
    wait_for(lambda: not ray.util.list_named_actors(all_namespaces=True), 30, "no actor is left")
    devices = {name: units for name, units in ray.cluster_resources().items() if name.startswith("s2a:")}
    free = lambda: {name: ray.available_resources().get(name) for name in devices}  # noqa: E731
    wait_for(lambda: free() == devices, 30, f"every device is free: {free()} of {devices}")


@pytest.fixture(scope="module")
def shared(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("ray") / "s2a", **on(cluster)).start()
    yield running
    running.stop()


@pytest.fixture
def started(cluster: Any, tmp_path: Path) -> Iterator[Callable[..., RunningService]]:
    """started(**settings): a service of this test's own, on the same cluster."""
    made: list[RunningService] = []

    def start(name: str = "s2a", key: str = "", **settings: Any) -> RunningService:
        made.append(RunningService(tmp_path / f"{name}{len(made)}", **{**on(cluster), **settings}))
        return made[-1].start(key)

    yield start
    for service in made:
        service.stop()


def on(cluster: Any) -> dict[str, Any]:
    """The settings of a service on the cluster."""
    return {**QUICK, "executor": "ray", "ray_address": cluster.address, "launch_s": 50.0}


def node_of(service: RunningService, job: str) -> str:
    """Ray's name of the node that the job's attempt runs on."""
    database = database_of(service)
    try:
        with database.transaction() as session:
            (attempt,) = [attempt for attempt, owner in attempts.live(session) if owner.id == job]
            return str((attempt.handle or {})["node"])
    finally:
        database.close()


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_a_job_whose_node_is_killed_in_the_middle_finishes_elsewhere(
    shared: RunningService, cluster: Any, rounds: int
) -> None:
    for number in range(rounds):
        job = submit(shared)
        (runner,) = trains(shared, job)
        lost = node_of(shared, job)
        (node,) = [n for n in cluster.worker_nodes if n.node_id == lost]
        on_it = [runner, *runner.children(recursive=True)]
        cluster.remove_node(node, allow_graceful=False)
        wait_for(lambda job=job: shared.job(job)["attempts"] == 2, 60, "it is tried again elsewhere")
        for process in on_it:  # as when the machine goes down: everything on it ends
            with contextlib.suppress(psutil.Error):
                process.kill()
        done = check(shared, job, EPOCHS, seconds=100)
        assert done["attempts"] == 2
        reasons = [e["reason"]["code"] for e in shared.events(job) if e["type"] == "queued" and "reason" in e]
        assert reasons == ["host_gone"]
        assert any(e["type"] == "resumed" and e["step"] >= 5 for e in shared.events(job))
        add_node(cluster, f"again{number}")
        cluster.wait_for_nodes(120)


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_cancel_ends_an_actor_and_its_process(shared: RunningService, rounds: int) -> None:
    for _ in range(rounds):
        job = submit(shared, epochs=1000)
        trains(shared, job, 1)
        shared.call("POST", f"/v1/jobs/{job}/cancel")
        shared.wait_until(job, "cancelled", seconds=5)
        check(shared, job, 0, "cancelled")
