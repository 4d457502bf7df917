"""What the service does besides answering: plans, datasets, webhooks, and clearing away what is out of date."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from app.executors.devices import read_devices
from app.services import children
from app.services.datasets import DatasetWorkQueue, weights_path
from app.services.idempotency import IdempotencyService
from app.services.plans import PlanWorkQueue
from app.services.sealing import Sealer
from app.services.sources import data_access
from app.services.uploads import UploadService
from app.services.webhooks import DeliveryWorker
from app.settings import Settings, visible_gpus
from app.store.database import Database
from app.store.refusals import refusal_of

log = structlog.get_logger("s2a.background")
CLEAN_EVERY_S = 60.0
BUSY_S = 60.0  # how long a thread may take to end


class WorkQueue(Protocol):
    """Where a kind of work is taken from and given back to."""

    def take(self) -> tuple[str, dict[str, Any]] | None:
        """(id, order), or None when there is nothing to do."""

    def keep(self, work_id: str, doing: str) -> None:
        """Renew the lease. doing: what the child says that it does."""

    def finish(self, work_id: str, answer: dict[str, Any]) -> None:
        """Write down the answer."""

    def release(self, work_id: str) -> None:
        """Leave the work to the next worker."""


class Background:
    """Three threads: plans, datasets, and errands (webhooks, expired things). They stop with the service."""

    def __init__(self, database: Database, settings: Settings, uploads: UploadService) -> None:
        self.settings = settings
        self._stop = threading.Event()
        self._webhooks = DeliveryWorker(
            database, Sealer(settings.data_dir), allow_private=settings.allow_private_webhooks
        )
        self._uploads, self._idempotency = uploads, IdempotencyService(database)
        self._cleaned = 0.0
        kinds = {reading.kind for reading in read_devices("", 0, visible_gpus())}
        plans, datasets = PlanWorkQueue(database, kinds), DatasetWorkQueue(database, settings.data_dir)
        self._work: dict[str, Callable[[], bool]] = {
            "plans": lambda: self.one(plans, "app.runner.plans", settings.plan_timeout_s, self._plan_order),
            "datasets": lambda: self.one(
                datasets, "app.runner.datasets", settings.dataset_timeout_s, self._dataset_order
            ),
            "errands": self._errands,
        }
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=name, daemon=True) for name in self._work
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every thread and child; unfinished work is left to the next start."""
        self._stop.set()
        for thread in self._threads:
            thread.join(BUSY_S)
        self._webhooks.close()

    def _run(self, name: str) -> None:
        while not self._stop.is_set():
            try:
                has_worked = self._work[name]()
            except Exception as error:  # the thread's boundary: one bad piece of work must not stop the others
                has_worked = False
                if refusal := refusal_of(error):
                    log.warning("background work waits", work=name, code=refusal.code, why=refusal.message)
                    self._stop.wait(refusal.retry_after_s)
                else:
                    log.exception("background work failed; it is tried again", work=name)
            if not has_worked:
                self._stop.wait(self.settings.worker_poll_s)

    def one(
        self, queue: WorkQueue, module: str, timeout_s: float, order_of: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> bool:
        """Do one piece of work; False when there is none."""
        taken = queue.take()
        if taken is None:
            return False
        work_id, order = taken
        start = time.monotonic()
        try:
            keep = functools.partial(queue.keep, work_id)
            answer = children.run(module, order_of(order), timeout_s, self._stop, keep)
        except children.Stopped:
            queue.release(work_id)
            return False
        queue.finish(work_id, answer)
        log.info("worked", work=module, id=work_id, status=answer["status"], s=round(time.monotonic() - start, 2))
        return True

    def _errands(self) -> bool:
        if time.monotonic() - self._cleaned > CLEAN_EVERY_S:
            self._cleaned = time.monotonic()
            self._uploads.expire()
            self._idempotency.expire()
        return self._webhooks.deliver() > 0

    def _plan_order(self, request: dict[str, Any]) -> dict[str, Any]:
        team_id, profiles = request.pop("team_id"), (self.settings.data_dir / "profiles").resolve()
        reserved = request.pop("reserved") or {"place": None, "num_bytes": 0}
        request["weights"] = weights_path(self.settings.data_dir, request.get("weights"))
        access = data_access(self.settings, team_id, request.get("data"), request["weights"])
        order = {"request": request, "profiles": str(profiles), "data_access": access}
        return {**order, "place": reserved["place"], "reserved_bytes": reserved["num_bytes"]}

    def _dataset_order(self, order: dict[str, Any]) -> dict[str, Any]:
        return {**order, "data_access": data_access(self.settings, order["team_id"], order["source"], order["folder"])}
