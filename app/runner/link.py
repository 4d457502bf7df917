"""A runner's connection to the service: tries again while the service is away, stops the process when it is refused."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx

GIVE_UP_S = 600.0


class Refused(Exception):
    """The service says that this attempt is over."""


class Link:
    """Calls for one attempt. Events are kept until the service has them."""

    def __init__(self, url: str, attempt: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=f"{url}/v1/runner/attempts/{attempt}/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
            transport=transport,
        )
        self._unsent: list[dict[str, Any]] = []
        self._first = 0
        self._lock = threading.Lock()

    def _call(self, method: str, path: str, give_up_s: float = GIVE_UP_S, **content: Any) -> dict[str, Any]:
        deadline = time.monotonic() + give_up_s
        while True:
            try:
                answer = self._client.request(method, path, **content)
                if answer.status_code in (401, 410):
                    raise Refused(answer.text)
                if answer.status_code < 500:
                    answer.raise_for_status()
                    return dict(answer.json() or {})
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise Refused(f"the service did not answer for {give_up_s:.0f} s")
            time.sleep(0.5)

    def request(self) -> dict[str, Any]:
        """What to run."""
        return self._call("GET", "request")

    def heartbeat(self) -> bool:
        """True when the service wants this process to stop."""
        return bool(self._call("POST", "heartbeat").get("stop"))

    def say(self, event: dict[str, Any]) -> None:
        """Keep an event to be sent."""
        kind = str(event.get("type", "log"))
        payload = {key: value for key, value in event.items() if key != "type"}
        with self._lock:
            self._unsent.append({"type": kind, "payload": payload})

    def flush(self) -> None:
        """Send what is kept; a batch that may have arrived is sent again with the same number."""
        with self._lock:
            batch = self._unsent[:500]
            if not batch:
                return
            self._call("POST", "events", json={"first": self._first, "events": batch})
            del self._unsent[: len(batch)]
            self._first += len(batch)

    def upload(self, path: Path) -> None:
        """Send a file."""
        self._call("PUT", f"artifacts/{path.name}", content=path.read_bytes())

    def finish(self, status: str, reason: dict[str, Any] | None, report: dict[str, Any] | None) -> None:
        """Send everything kept, then the last word."""
        while self._unsent:
            self.flush()
        self._call("POST", "state", json={"status": status, "reason": reason, "report": report})
