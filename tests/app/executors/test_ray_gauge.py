"""A node is asked once at a time, the newest answer counts, and one that fails is asked anew."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from app.executors import ray_gauge
from app.executors.base import DeviceReading
from app.executors.ray_gauge import Gauge, Gauges

GPU = DeviceReading("", "cuda", "cuda:0", 2**30, used_bytes=5)


class RayError(Exception):
    """What Ray raises."""


class PretendRay:
    """Answers are numbers; what they come to stands in `answers`, and a number without is not answered yet."""

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.num_asked, self.killed = 0, 0
        self.exceptions = SimpleNamespace(RayError=RayError)
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
        self.util = SimpleNamespace(scheduling_strategies=strategies)

    def remote(self, **_: Any) -> Any:
        actor = SimpleNamespace(read=SimpleNamespace(remote=self._asked))
        return lambda _: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: actor))

    def _asked(self) -> int:
        self.num_asked += 1
        return self.num_asked

    def wait(self, waiting: list[int], num_returns: int = 1, timeout: float = 0) -> tuple[list[int], list[int]]:
        return [a for a in waiting if a in self.answers], [a for a in waiting if a not in self.answers]

    def get(self, answer: int) -> Any:
        if isinstance(self.answers[answer], Exception):
            raise self.answers[answer]
        return self.answers[answer]

    def kill(self, actor: Any, no_restart: bool) -> None:
        self.killed += 1


def test_a_node_that_has_not_answered_is_not_asked_again_and_has_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_gauge, "EVERY_S", -1.0)
    ray = PretendRay()
    gauges = Gauges(ray)
    assert gauges.readings(["n"]) == gauges.readings(["n"]) == {}
    assert ray.num_asked == 1
    ray.answers = {1: [GPU]}
    assert gauges.readings(["n"]) == {"n": {"cuda:0": GPU}}
    assert gauges.readings(["n"]) == {"n": {"cuda:0": GPU}}  # the second question is open: the first answer counts
    assert ray.num_asked == 2


def test_a_node_that_fails_or_goes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = PretendRay()
    ray.answers = {1: RayError(), 2: [GPU]}
    gauges = Gauges(ray)
    assert gauges.readings(["n"]) == {}
    assert gauges.readings(["n"]) == {"n": {"cuda:0": GPU}}
    assert gauges.readings([]) == {}
    assert ray.killed == 2


def test_threads_that_ask_together_trip_over_no_question_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_gauge, "EVERY_S", -1.0)
    ray = PretendRay()
    ray.answers = {number: [GPU] for number in range(1, 200)}
    quick = ray.wait

    def slow(*given: Any, **options: Any) -> Any:
        time.sleep(0.001)
        return quick(*given, **options)

    monkeypatch.setattr(ray, "wait", slow)
    gauges = Gauges(ray)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(gauges.readings, [["n"]] * 40))
    assert found == [{"n": {"cuda:0": GPU}}] * 40


def test_a_machine_without_nvml_measures_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert [reading.kind for reading in Gauge().read()] == ["cpu"]
