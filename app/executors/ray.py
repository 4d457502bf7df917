"""Attempts on a Ray cluster, for a team that outgrows one machine (`pip install s2a[ray]`).

One detached, named actor per attempt holds one unit of its device's custom resource, which brings it to the device's
node, and runs the process as LocalExecutor does on one machine. Ray retries nothing: a lost actor is a lost attempt,
which the queue tries again. A service that restarts finds its actors by name. The data directory has to be shared by
every node.

A node offers devices as custom resources of MiB, and its own name, which its devices carry as their worker:
ray start ... --resources '{"s2a:cpu": 65536, "s2a:cuda:0": 81920, "s2a-worker:NAME": 1}'
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.executors.base import DeviceReading, Look, ProcessState
from app.executors.ray_actor import AttemptActor
from app.executors.ray_gauge import Gauge, Gauges
from s2a_core.errors import InvalidInput

log = logging.getLogger(__name__)
NAMESPACE = "s2a"
PREFIX, WORKER_PREFIX, GPU = "s2a:", "s2a-worker:", "s2a:cuda"
UNIT_BYTES = 2**20  # a unit of a device's resource
REACH_S = 5.0
START_S = 120.0  # a busy node is slow to start an actor; the launch holds up nobody
ANSWER_S = 5.0
GONE_S = 15.0


def require_reachable(address: str) -> None:
    """InvalidInput where nobody listens on HOST:PORT; Ray would try for a minute and end the process."""
    place = urlsplit(address if "//" in address else f"//{address}")
    try:
        if place.hostname is None or place.port is None:
            return  # `auto` and `local` name no host
        socket.create_connection((place.hostname, place.port), REACH_S).close()
    except (OSError, ValueError) as error:
        raise unreachable(address, str(error)) from error


def unreachable(address: str, why: str) -> InvalidInput:
    """What is said of a cluster that cannot be joined."""
    words = " ".join(why.split())[:300]
    return InvalidInput(
        f"S2A_RAY_ADDRESS={address}: no Ray cluster can be reached there ({words}); start one with `ray start --head "
        "--port=6379` or give the address of its head as HOST:PORT",
        details={"address": address},
    )


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process' handler of SIGTERM: Ray would end the process at once, in the middle of its answers."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class RayExecutor:
    """Speaks to a cluster at `address`; Ray's token authentication is taken from RAY_AUTH_MODE and RAY_AUTH_TOKEN."""

    def __init__(self, address: str = "auto", gauge: type[Any] = Gauge) -> None:
        import ray

        self.ray: Any = ray  # Ray annotates a part of its functions only
        if not ray.is_initialized():
            require_reachable(address)
            try:
                with _own_signals():
                    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
            except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                raise unreachable(address, f"{type(error).__name__}: {error}") from error
        self._actor = self.ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=4)(AttemptActor)
        self._gauges = Gauges(ray, gauge)
        self._known: dict[str, Any] = {}

    def launch(
        self, attempt_id: str, command: list[str], token: str, log: Path, device: str | None, reserved_bytes: int
    ) -> dict[str, Any]:
        """Start an actor on the device's node and the process in it. Raises OSError when the cluster has no room."""
        resources: dict[str, float] = {}
        name = None
        if device is not None:
            worker, _, name = device.rpartition("/")
            # One unit, for the place: the bytes are in the service's ledger, where a plan that comes home shrinks them.
            resources = {PREFIX + name: 1.0}
            if self._names_worker(worker):
                resources[WORKER_PREFIX + worker] = 0.001
        actor = self._actor.options(
            name=attempt_id, namespace=NAMESPACE, lifetime="detached", resources=resources
        ).remote()
        try:
            started = self.ray.get(
                actor.start.remote(attempt_id, command, token, str(log), name, reserved_bytes), timeout=START_S
            )
        except Exception as error:
            self.ray.kill(actor, no_restart=True)
            raise OSError(f"no node started the attempt: {type(error).__name__}: {error}") from error
        self._known[attempt_id] = actor
        return {**started, "executor": "ray", "attempt": attempt_id, "device": device}

    def _names_worker(self, worker: str) -> bool:
        return any(WORKER_PREFIX + worker in node["Resources"] for node in self.ray.nodes() if node["Alive"])

    def _find_actor(self, attempt_id: str) -> Any:
        """The attempt's actor, None when Ray knows none of that name."""
        actor = self._known.get(attempt_id)  # another thread may forget it meanwhile
        if actor is None:
            try:
                actor = self._known[attempt_id] = self.ray.get_actor(attempt_id, namespace=NAMESPACE)
            except ValueError:
                return None
        return actor

    def find(self, attempt_id: str) -> dict[str, Any] | None:
        """The handle that its actor remembers."""
        actor = self._find_actor(attempt_id)
        if actor is None:
            return None
        try:
            handle = self.ray.get(actor.handle.remote(), timeout=ANSWER_S)
        except self.ray.exceptions.RayError:
            return None
        return {**handle, "executor": "ray"} if handle else None

    def discard(self, attempt_id: str) -> None:
        """End its actor, which holds the device's resource also when it was never told to start a process."""
        actor = self._find_actor(attempt_id)
        if actor is not None:
            self.ray.kill(actor, no_restart=True)
            self._known.pop(attempt_id, None)

    def look(self, handle: dict[str, Any]) -> Look:
        """What the actor sees of its process; without an actor, whether its node is there."""
        attempt_id = str(handle["attempt"])
        actor = self._find_actor(attempt_id)
        if actor is None:
            return self._look_at_node(handle)
        errors = self.ray.exceptions
        try:
            state, exit_code = self.ray.get(actor.look.remote(), timeout=ANSWER_S)
            return Look(ProcessState(state), exit_code)
        except errors.ActorDiedError:
            self._known.pop(attempt_id, None)
            return self._look_at_node(handle)
        except errors.RayError:  # busy, or its node does not answer: only its lease decides
            if not self._is_alive(str(handle.get("node"))):
                self._known.pop(attempt_id, None)
                return Look(ProcessState.HOST_GONE)
            return Look(ProcessState.UNKNOWN)

    def _look_at_node(self, handle: dict[str, Any]) -> Look:
        return Look(ProcessState.GONE if self._is_alive(str(handle.get("node"))) else ProcessState.HOST_GONE)

    def _is_alive(self, node: str) -> bool:
        return any(each["NodeID"] == node and each["Alive"] for each in self.ray.nodes())

    def kill(self, handle: dict[str, Any], grace_s: float) -> bool:
        """Let the actor end its process, then end the actor; whether both, or their node, are gone."""
        attempt_id = str(handle["attempt"])
        actor = self._find_actor(attempt_id)
        if actor is None:
            return not self._is_alive(str(handle.get("node"))) or self._sweep(handle)
        is_clean = False
        try:
            is_clean = bool(self.ray.get(actor.kill.remote(grace_s), timeout=grace_s + ANSWER_S))
        except self.ray.exceptions.RayError:
            log.info("attempt %s: its actor does not answer", attempt_id)
        self.ray.kill(actor, no_restart=True)
        self._known.pop(attempt_id, None)
        deadline = time.monotonic() + GONE_S
        while time.monotonic() < deadline:
            if self._find_actor(attempt_id) is None or not self._is_alive(str(handle.get("node"))):
                self._known.pop(attempt_id, None)
                # A process whose actor died before it could clean up ends with its parent, or with its node.
                return is_clean or not self._is_alive(str(handle.get("node"))) or self._sweep(handle)
            self._known.pop(attempt_id, None)
            time.sleep(0.1)
        return False

    def _sweep(self, handle: dict[str, Any]) -> bool:
        """End what is left of an attempt on its node, by an actor made for that."""
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(str(handle["node"]), soft=False)
        sweeper = self._actor.options(scheduling_strategy=strategy).remote()
        try:
            return bool(self.ray.get(sweeper.sweep.remote(handle), timeout=GONE_S))
        except self.ray.exceptions.RayError:
            return not self._is_alive(str(handle.get("node")))
        finally:
            self.ray.kill(sweeper, no_restart=True)

    def devices(self) -> list[DeviceReading]:
        """The custom resources of the nodes that are alive; GPUs with what their node measures, once it has."""
        nodes = {str(node["NodeID"]): node for node in self.ray.nodes() if node["Alive"]}
        with_gpus = [key for key, node in nodes.items() if any(name.startswith(GPU) for name in node["Resources"])]
        measured = self._gauges.readings(with_gpus)
        readings = []
        for key, node in nodes.items():
            resources: dict[str, float] = node["Resources"]
            names = [name.removeprefix(WORKER_PREFIX) for name in resources if name.startswith(WORKER_PREFIX)]
            worker = names[0] if names else str(node["NodeManagerHostname"])
            for resource, units in sorted(resources.items()):
                is_known = key in measured or not resource.startswith(GPU)
                if resource.startswith(PREFIX) and is_known:
                    name = resource.removeprefix(PREFIX)
                    declared = DeviceReading(worker, name.partition(":")[0], name, int(units) * UNIT_BYTES)
                    readings.append(_measured(declared, measured.get(key, {}).get(name)))
        return readings


def _measured(declared: DeviceReading, seen: DeviceReading | None) -> DeviceReading:
    """A declared device with what is used of it; it never has more than the hardware."""
    if seen is None:  # a node without NVML: the declaration is all that is known
        return declared
    capacity = min(declared.capacity_bytes, seen.capacity_bytes)
    return replace(declared, capacity_bytes=capacity, used_bytes=seen.used_bytes, used_by_pid=seen.used_by_pid)
