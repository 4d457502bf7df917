"""What the GPUs of a Ray cluster's nodes measure: a small actor on each node, asked without waiting for the slowest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from app.executors.base import DeviceReading
from app.executors.devices import read_devices

EVERY_S = 1.0  # how often a node is asked
FIRST_S = 5.0  # what a look waits for the first answer of a node


class Gauge:
    """The actor of a node."""

    def read(self) -> list[DeviceReading]:
        """What its devices measure."""
        return read_devices("", 0)  # whatever CUDA_VISIBLE_DEVICES says: Ray empties it for an actor without GPUs


class Gauges:
    """One gauge per node, with its newest reading. They end with the service that asks them."""

    def __init__(self, ray: Any, gauge: type[Any] = Gauge) -> None:
        self.ray = ray
        self._actor = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(gauge)
        self._actors: dict[str, Any] = {}
        self._asked: dict[str, tuple[Any, float]] = {}
        self._known: dict[str, dict[str, DeviceReading]] = {}
        self._lock = threading.Lock()

    def readings(self, nodes: Iterable[str]) -> dict[str, dict[str, DeviceReading]]:
        """Readings by the name of the device, of the nodes that have answered. Any thread may ask."""
        with self._lock:
            return self._newest(set(nodes))

    def _newest(self, wanted: set[str]) -> dict[str, dict[str, DeviceReading]]:
        for node in self._actors.keys() - wanted:
            self._forget(node)
        has_new = bool(wanted - self._actors.keys())
        for node in wanted:
            self._ask(node)
        waiting = [answer for answer, _ in self._asked.values()]
        if waiting:
            self.ray.wait(waiting, num_returns=len(waiting), timeout=FIRST_S if has_new else 0)
        for node in list(self._asked):
            self._take(node)
        return {node: self._known[node] for node in wanted if node in self._known}

    def _ask(self, node: str) -> None:
        if node not in self._actors:
            place = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            self._actors[node] = self._actor.options(scheduling_strategy=place).remote()
        if node not in self._asked:
            self._asked[node] = (self._actors[node].read.remote(), time.monotonic())

    def _take(self, node: str) -> None:
        """Keep an answer that is there; it is asked for again when it is EVERY_S old."""
        answer, asked_at = self._asked[node]
        done, _ = self.ray.wait([answer], timeout=0)
        if not done:
            return
        try:
            self._known[node] = {reading.name: reading for reading in self.ray.get(answer)}
        except self.ray.exceptions.RayError:  # its node went down, or the actor with it: the next look makes another
            self._forget(node)
            return
        if time.monotonic() - asked_at > EVERY_S:
            del self._asked[node]

    def _forget(self, node: str) -> None:
        actor = self._actors.pop(node, None)
        self._asked.pop(node, None)
        self._known.pop(node, None)
        if actor is not None:
            self.ray.kill(actor, no_restart=True)
