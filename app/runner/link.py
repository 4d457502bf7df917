"""A runner's connection to the service: tries again while the service is away, stops the process when it is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from app.runner.spool import LAST_WORD, Spool

GIVE_UP_S = 3600.0
RETRY_S = 0.5
REFUSALS = (401, 404, 409, 410)
PATIENCE = (408, 425, 429)
PIECE_BYTES = 2**20


class Refused(Exception):
    """The service says that this attempt is over."""


class Pieces:
    """A file's bytes, from the beginning each time they are asked for: a request that failed is sent again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece


class Link:
    """Calls for one attempt, each with its token and epoch. Events go to the spool first and from there to the service.

    fence_s: without a word from the service for so long, `wait_while_fenced` blocks: somebody else may have the job.
    """

    def __init__(
        self,
        url: str,
        attempt: str,
        token: str,
        spool: Spool,
        epoch: int = 1,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = httpx.Client(
            base_url=f"{url}/v1/runner/attempts/{attempt}/",
            headers={"Authorization": f"Bearer {token}", "S2A-Epoch": str(epoch)},
            timeout=20,
            transport=transport,
            trust_env=False,
        )
        self.spool = spool
        self.fence_s, self.give_up_s = float("inf"), GIVE_UP_S
        self.reserved_bytes = self.missed_bytes = 0  # the attempt's reservation; what earlier plans fell short by
        self.device_use: Callable[[], dict[str, Any] | None] = lambda: None  # of a GPU, once there is a context
        self.is_refused = False
        self.is_training = False  # the loop runs: it can stop at a step, with a checkpoint
        self.is_stopping = False  # a signal asked it to
        self.is_pausing = False  # a heartbeat's answer asked it to
        self._sending = threading.Lock()
        self._last_contact = self._last_progress = time.monotonic()
        self._let_through = float("-inf")

    def _call(self, method: str, path: str, give_up_s: float | None = None, **content: Any) -> dict[str, Any]:
        deadline = time.monotonic() + (self.give_up_s if give_up_s is None else give_up_s)
        while True:
            if self.is_refused:
                raise Refused("another call was refused")
            try:
                answer = self._client.request(method, path, **content)
                if answer.status_code in REFUSALS:
                    self.is_refused = True
                    raise Refused(answer.text)
                if answer.status_code < 500 and answer.status_code not in PATIENCE:
                    answer.raise_for_status()
                    self._last_contact = time.monotonic()
                    return dict(answer.json() or {})
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"the service did not answer for {self.give_up_s:.0f} s")
            time.sleep(RETRY_S)

    def request(self) -> dict[str, Any]:
        """What to run."""
        job = self._call("GET", "request")
        self.fence_s = float(job.get("fence_s", self.fence_s))
        self.give_up_s = float(job.get("give_up_s", self.give_up_s))
        self.reserved_bytes = int(job.get("reserved_bytes", 0))
        self.missed_bytes = int(job.get("missed_bytes", 0))
        return job

    def heartbeat(self) -> bool:
        """One try to say that the process lives; True when it should end at once."""
        idle_s = time.monotonic() - self._last_progress
        try:
            body = {"idle_s": idle_s, "use": self.device_use()}
            answer = self._call("POST", "heartbeat", give_up_s=0.0, json=body)
        except TimeoutError:
            return False
        self.is_pausing = bool(answer.get("pause"))
        return bool(answer.get("stop")) or (self.is_pausing and not self.is_training)

    def say(self, event: dict[str, Any]) -> None:
        """Keep an event to be sent; called by the loop, so it is progress."""
        self._last_progress = time.monotonic()
        kind = str(event.get("type", "log"))
        self.spool.append(kind, {key: value for key, value in event.items() if key != "type"})

    def is_due(self, every_s: float) -> bool:
        """Whether the last event that was let through so is that long ago; this one then is."""
        self._last_progress = time.monotonic()  # what is not sent is progress all the same
        if self._last_progress - self._let_through < every_s:
            return False
        self._let_through = self._last_progress
        return True

    @property
    def is_fenced(self) -> bool:
        """Whether the service was silent for so long that somebody else may have been given the job."""
        return time.monotonic() - self._last_contact > self.fence_s

    @property
    def silent_s(self) -> float:
        """Seconds without a word from the service."""
        return time.monotonic() - self._last_contact

    def wait_while_fenced(self) -> None:
        """Return when this attempt may work; raises Refused when it never may again."""
        while self.is_fenced and not self.is_refused:
            if self.silent_s > self.give_up_s:
                raise TimeoutError(f"the service did not answer for {self.give_up_s:.0f} s")
            time.sleep(0.05)
        if self.is_refused:
            raise Refused("a newer attempt has the job")

    def flush(self, give_up_s: float | None = 0.0) -> bool:
        """Send what the spool holds; whether the service has all of it. A batch sent twice is stored once."""
        with self._sending:
            while True:
                first, batch = self.spool.unsent()
                if not batch:
                    return True
                self.spool.sync()
                sent = [{key: record[key] for key in ("type", "payload", "at")} for record in batch]
                try:
                    self._deliver(first, sent, give_up_s)
                except TimeoutError:
                    return False
                self.spool.confirm(first + len(batch))

    def _deliver(self, first: int, sent: list[dict[str, Any]], give_up_s: float | None) -> None:
        """Send a batch; where the service does not take it whole, one by one, and what it never takes as a log line."""
        try:
            self._call("POST", "events", give_up_s, json={"first": first, "events": sent})
        except httpx.HTTPStatusError as error:
            if len(sent) > 1:
                for number, record in enumerate(sent):
                    self._deliver(first + number, [record], give_up_s)
                return
            message = f"the service refused an event of type {sent[0]['type']}: {error.response.status_code}"
            log = {"type": "log", "payload": {"message": message}, "at": sent[0]["at"]}
            self._call("POST", "events", give_up_s, json={"first": first, "events": [log]})

    def upload(self, path: Path) -> None:
        """Send a file, piece by piece."""
        self._last_progress = time.monotonic()
        self._call("PUT", f"artifacts/{path.name}", content=Pieces(path))

    def finish(
        self,
        status: str,
        reason: dict[str, Any] | None,
        report: dict[str, Any] | None,
        verdict: dict[str, Any] | None = None,
    ) -> None:
        """Send everything kept, then the last word. It is on disk too, for a service that comes back too late."""
        word = {"status": status, "reason": reason, "report": report, "verdict": verdict}
        self.flush(self.give_up_s)
        self.spool.append(LAST_WORD, word)
        self._call("POST", "state", json=word)
