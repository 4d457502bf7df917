"""A Ray cluster keeps the executor's contract; an attempt goes down with its node and is told from one that crashed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.executors.base import DeviceReading, Executor, ProcessState
from app.executors.ray import RayExecutor
from tests.app.executors.cluster import NODE_MIB, add_node, cluster_of
from tests.app.executors.contract import POLITE, STUBBORN, ExecutorContract, is_running, skip_without, until, words

MIB = 2**20
pytestmark = [pytest.mark.slow, skip_without("ray"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with cluster_of(2) as found:
        yield found


@pytest.fixture
def executor(cluster: Any) -> RayExecutor:
    return RayExecutor(cluster.address)


class TestRay(ExecutorContract):
    """The contract, on a cluster."""

    @pytest.fixture
    def again(self, cluster: Any) -> Callable[[], Executor]:
        return lambda: RayExecutor(cluster.address)


def launch(executor: RayExecutor, code: str, log: Path, attempt: str, device: str, mib: int = 1) -> dict[str, Any]:
    return executor.launch(attempt, [sys.executable, "-c", code], "t", log, device, mib * 2**20)


def test_each_node_offers_its_device_and_leaves_the_count_of_bytes_to_the_service(
    executor: RayExecutor, tmp_path: Path
) -> None:
    """A plan that comes home shrinks a reservation; an actor's resources could not follow."""
    assert {(d.worker, d.name, d.capacity_bytes) for d in executor.devices()} == {
        ("w0", "cpu", NODE_MIB * 2**20),
        ("w1", "cpu", NODE_MIB * 2**20),
    }
    handles = [launch(executor, POLITE, tmp_path / name, name, "w0/cpu", 1000) for name in ("att_big", "att_more")]
    assert handles[0]["node"] == handles[1]["node"]
    assert all(executor.kill(handle, 5.0) for handle in handles)


def test_an_actor_whose_launcher_died_before_it_started_anything_holds_nothing_once_discarded(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"name": "att_half", "namespace": "s2a", "lifetime": "detached", "resources": {"s2a:cpu": NODE_MIB}}
    for number in range(2):  # both devices are full of actors that nobody will ever tell to start
        actor = executor._actor.options(**{**options, "name": f"att_half{number}"}).remote()
        executor.ray.get(actor.handle.remote(), timeout=60)
        assert executor.find(f"att_half{number}") is None
        executor.discard(f"att_half{number}")
    handle = launch(executor, POLITE, tmp_path / "log", "att_after", "w0/cpu", NODE_MIB)
    assert executor.kill(handle, 5.0)
    executor.discard("att_nobody")


def test_the_services_own_way_to_end_is_kept(cluster: Any) -> None:
    import ray

    ray.shutdown()
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        RayExecutor(cluster.address)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_actor_that_was_killed_takes_its_process_with_it(executor: RayExecutor, tmp_path: Path) -> None:
    handle = launch(executor, STUBBORN, tmp_path / "log", "att_actor", "w1/cpu")
    child = int(words(tmp_path / "log", 4)[2])
    executor.ray.kill(executor.ray.get_actor("att_actor", namespace="s2a"), no_restart=True)
    assert until(executor, handle, ProcessState.GONE).exit_code is None
    assert executor.kill(handle, 0.0)
    assert not is_running(int(handle["pid"]))
    assert not is_running(child)


class PretendGauge:
    """Measures a GPU that a stranger uses, and one that nobody offered."""

    def read(self) -> list[DeviceReading]:
        return [
            DeviceReading("", "cuda", "cuda:0", 1000 * MIB, used_bytes=300 * MIB, used_by_pid={7: 200 * MIB}),
            DeviceReading("", "cuda", "cuda:1", 1000 * MIB),
        ]


def test_a_node_tells_what_others_use_of_its_gpus(cluster: Any) -> None:
    node = add_node(cluster, "w8", **{"cuda:0": 2000})
    cluster.wait_for_nodes(120)
    executor = RayExecutor(cluster.address, PretendGauge)
    deadline = time.monotonic() + 60
    while not (found := [d for d in executor.devices() if d.kind == "cuda"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found == [
        DeviceReading("w8", "cuda", "cuda:0", 1000 * MIB, used_bytes=300 * MIB, used_by_pid={7: 200 * MIB})
    ]
    plain = RayExecutor(cluster.address)
    while not (found := [d for d in plain.devices() if d.kind == "cuda"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found == [DeviceReading("w8", "cuda", "cuda:0", 2000 * MIB)]  # there is no NVML: what was declared
    cluster.remove_node(node, allow_graceful=False)
    while any(d.worker == "w8" for d in executor.devices()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_attempt_whose_node_was_killed_went_down_with_it(
    executor: RayExecutor, cluster: Any, tmp_path: Path
) -> None:
    node = add_node(cluster, "w9")
    cluster.wait_for_nodes(120)
    handle = launch(executor, POLITE, tmp_path / "log", "att_node", "w9/cpu")
    started = time.monotonic()
    cluster.remove_node(node, allow_graceful=False)
    until(executor, handle, ProcessState.HOST_GONE)
    assert time.monotonic() - started < 20
    assert executor.kill(handle, 0.0)
    assert "w9" not in {d.worker for d in executor.devices()}
    if is_running(int(handle["pid"])):  # this process is not a runner, which would end with its actor
        os.kill(int(handle["pid"]), signal.SIGKILL)
