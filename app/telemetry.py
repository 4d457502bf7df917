"""Prometheus metrics: API latency counted here, everything about jobs, memory and predictions read when asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.store import figures
from app.store.database import Database

METHODS = frozenset(HTTPMethod)  # a client may send any word: each would be a series of its own
LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
ERRORS = (-0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
DEVICE_BYTES = {
    "capacity": "capacity_bytes",
    "reserve": "reserve_bytes",
    "baseline": "baseline_bytes",
    "others": "used_by_others_bytes",
}


class Telemetry:
    """The metrics of one application."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self._latency = Histogram(
            "s2a_http_request_seconds",
            "Time to answer, by route.",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=LATENCY_S,
        )
        self.registry.register(_Figures(database))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One answer. Streams count until their end."""
        self._latency.labels(method if method in METHODS else "other", route, str(status)).observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)


class _Figures(Collector):
    """Reads the database each time it is asked."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> Iterator[Metric]:
        """Nothing: so that registering asks no database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every figure, from one transaction."""
        with self.database.reading() as session:
            jobs = GaugeMetricFamily("s2a_jobs", "Jobs by status.", labels=["status"])
            for status, count in figures.job_counts(session).items():
                jobs.add_metric([status], count)
            yield jobs
            depth = GaugeMetricFamily("s2a_queue_depth", "Waiting jobs by reason.", labels=["reason"])
            for reason, count in figures.queue_depth(session).items():
                depth.add_metric([reason], count)
            yield depth
            memory = GaugeMetricFamily(
                "s2a_device_bytes", "Memory of a device by use.", labels=["device", "worker", "kind", "use"]
            )
            for device, held in figures.devices(session):
                names = [device.name, device.worker, device.kind]
                memory.add_metric([*names, "reserved"], held)
                for use, column in DEVICE_BYTES.items():
                    memory.add_metric([*names, use], getattr(device, column))
            yield memory
            waits, runs, plans = (
                find(session, LONG_S) for find in (figures.wait_seconds, figures.run_seconds, figures.plan_seconds)
            )
            yield _histogram("s2a_job_wait_seconds", "From submission to the first start.", LONG_S, *waits)
            yield _histogram("s2a_job_run_seconds", "From the first start to the end.", LONG_S, *runs)
            yield _histogram("s2a_plan_seconds", "From the request of a plan to its end.", LONG_S, *plans)
            errors = figures.prediction_error(session, ERRORS)
            words = "(measured - predicted) / predicted peak; above 0: too little was promised."
            yield _histogram("s2a_prediction_error", words, ERRORS, *errors)


def _histogram(name: str, words: str, bounds: Sequence[float], counts: list[int], total: float) -> Metric:
    names = [*(repr(bound) for bound in bounds), "+Inf"]
    family = HistogramMetricFamily(name, words)
    family.add_metric([], list(zip(names, map(float, counts), strict=True)), total)
    return family
