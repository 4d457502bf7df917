"""Webhooks: where a team's events go, each signed with the hook's own secret, tried again, and logged."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import structlog

from app.errors import existing
from app.models import Event, Job, Webhook, WebhookDelivery
from app.services import addresses
from app.services.keys import Caller, require
from app.services.sealing import PREFIX, Sealer
from app.store import audit, webhooks
from app.store.database import Database
from s2a_core.errors import S2AError

log = structlog.get_logger("s2a.webhooks")
BACKOFF_S = (5.0, 30.0, 120.0, 600.0, 3600.0)  # before the second, third ... try; after the last one it is given up
TIMEOUT_S = 10.0  # of a whole try, from the connection to the last byte of the answer's headers
PARALLEL = 16  # webhooks that are called at once
ROUND_S = 1.0
HELD_S = 60.0  # a delivery that is being tried is tried by nobody else for so long


def document(webhook: Webhook) -> dict[str, Any]:
    """A webhook as the API shows it; its secret is shown once, when it is made."""
    return {"id": webhook.id, "url": webhook.url, "events": webhook.events, "is_active": webhook.is_active}


def delivery_document(delivery: WebhookDelivery) -> dict[str, Any]:
    """A try as the API shows it."""
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "attempt": delivery.attempt,
        "status_code": delivery.status_code,
        "error": delivery.error,
        "at": delivery.at,
        "next_at": delivery.next_at,
    }


def sign(secret: str, at: int, body: bytes) -> str:
    """The S2A-Signature header: `t=<Unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>" in hex>`."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def body_of(event: Event, job: Job) -> bytes:
    """What is delivered."""
    content = {
        "event": event.type,
        "id": event.id,
        "job_id": job.id,
        "seq": event.seq,
        "at": event.at,
        "status": job.status,
        "payload": event.payload,
    }
    return json.dumps(content, separators=(",", ":")).encode()


class WebhookService:
    """A webhook of another team is NotFound."""

    def __init__(self, database: Database, sealer: Sealer, *, allow_private: bool) -> None:
        self.database, self.sealer, self.allow_private = database, sealer, allow_private

    def seal(self) -> None:
        """Seal the secrets that versions before this stored in clear."""
        with self.database.transaction() as session:
            for webhook in webhooks.unsealed(session, PREFIX):
                webhook.secret = self.sealer.seal(webhook.secret)

    def create(self, caller: Caller, url: str, events: list[str]) -> dict[str, Any]:
        """A webhook with its secret. Raises InvalidInput for an address that may not be reached."""
        require(caller, "write")
        _, host, port = addresses.parse(url)
        addresses.resolve(host, port, allow_private=self.allow_private)
        secret = secrets.token_hex(24)
        hook = Webhook(team_id=caller.team_id, url=url, secret=self.sealer.seal(secret), events=sorted(set(events)))
        with self.database.transaction() as session:
            made = webhooks.add(session, hook)
            audit.record(session, caller.team_id, caller.key_id, "webhook.created", made.id, {"url": url})
            return {**document(made), "secret": secret}

    def listed(self, caller: Caller, limit: int, after: str | None) -> dict[str, Any]:
        """A page of webhooks."""
        with self.database.reading() as session:
            rows, following = webhooks.listed(session, caller.visible_team, limit, after)
            return {"items": [document(webhook) for webhook in rows], "next": following}

    def get(self, caller: Caller, webhook_id: str) -> dict[str, Any]:
        """One webhook."""
        with self.database.reading() as session:
            return document(self._find(session, caller, webhook_id))

    def remove(self, caller: Caller, webhook_id: str) -> None:
        """Forget a webhook."""
        require(caller, "write")
        with self.database.transaction() as session:
            webhooks.remove(session, self._find(session, caller, webhook_id, is_locked=True))
            audit.record(session, caller.team_id, caller.key_id, "webhook.removed", webhook_id)

    def deliveries(self, caller: Caller, webhook_id: str, limit: int, after: str | None) -> dict[str, Any]:
        """A page of a webhook's tries, newest first."""
        with self.database.reading() as session:
            self._find(session, caller, webhook_id)
            rows, following = webhooks.deliveries(session, webhook_id, limit, after)
            return {"items": [delivery_document(delivery) for delivery in rows], "next": following}

    @staticmethod
    def _find(session: Any, caller: Caller, webhook_id: str, *, is_locked: bool = False) -> Webhook:
        found = webhooks.find(session, webhook_id, caller.visible_team, is_locked=is_locked)
        return existing(found, f"webhook {webhook_id}")


@dataclass(frozen=True)
class OutgoingDelivery:
    """A try that is due, with everything it takes to send it."""

    delivery_id: int
    webhook_id: str
    url: str
    secret: str
    kind: str
    body: bytes


class DeliveryWorker:
    """Delivers what is due, to several webhooks at once and to each one in order, so a slow one holds up itself only.

    No transaction is open while it waits for an answer. transport: of httpx, instead of the network.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        *,
        allow_private: bool,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.database, self.sealer, self.allow_private, self.transport = database, sealer, allow_private, transport
        self._trusted = httpx.create_ssl_context(trust_env=False)
        self._threads = ThreadPoolExecutor(PARALLEL, thread_name_prefix="webhook-delivery")
        self._tries: dict[str, Future[None]] = {}  # by webhook

    def deliver(self) -> int:
        """Begin the next try of every webhook that has one due and is not at another; how many were begun.

        Waits at most ROUND_S for the first of them to end.
        """
        self._tries = {webhook_id: one for webhook_id, one in self._tries.items() if not one.done()}
        with self.database.transaction() as session:
            now = time.time()
            outgoing = []
            due = webhooks.due(session, now, PARALLEL - len(self._tries), besides=self._tries)
            for delivery, webhook, event, job in due:
                delivery.next_at = now + HELD_S
                body = body_of(event, job)
                outgoing.append(
                    OutgoingDelivery(delivery.id, webhook.id, webhook.url, webhook.secret, event.type, body)
                )
        begun = {delivery.webhook_id: self._threads.submit(self._try, delivery) for delivery in outgoing}
        self._tries |= begun
        wait(begun.values(), ROUND_S, FIRST_COMPLETED)
        return len(begun)

    def _try(self, delivery: OutgoingDelivery) -> None:
        try:
            self._write(delivery.delivery_id, *self._send(delivery))
        except Exception:  # the thread's boundary: it is tried again after HELD_S
            log.exception("a webhook's try could not be written down", delivery=delivery.delivery_id)

    def _send(self, delivery: OutgoingDelivery) -> tuple[int | None, str | None]:
        """(status, None) of an answer, or (None, what went wrong)."""
        try:
            return self._answered(delivery), None
        except S2AError as error:
            return None, error.message
        except TimeoutError:
            return None, f"no answer within {TIMEOUT_S:.0f} s"
        except Exception as error:  # of the network or of a library: counted as a try, or it would be tried for ever
            return None, f"{type(error).__name__}: {error}"[:500]

    def _answered(self, delivery: OutgoingDelivery) -> int:
        """The status of the answer."""
        scheme, host, port = addresses.parse(delivery.url)
        address = addresses.resolve(host, port, allow_private=self.allow_private)
        secret = self.sealer.open(delivery.secret)
        at = int(time.time())
        # Connecting to the address that was checked, not to the name: a name may answer differently the second time.
        literal = f"[{address}]" if ":" in address else address
        pinned = urlunsplit((scheme, f"{literal}:{port}", *urlsplit(delivery.url)[2:4], ""))
        headers = {
            "Host": urlsplit(delivery.url).netloc,
            "Content-Type": "application/json",
            "User-Agent": "s2a-webhook",
            "S2A-Event": delivery.kind,
            "S2A-Delivery": str(delivery.delivery_id),
            "S2A-Signature": sign(secret, at, delivery.body),
        }
        return asyncio.run(self._post(pinned, delivery.body, headers, host))

    async def _post(self, url: str, body: bytes, headers: dict[str, str], host: str) -> int:
        """The status of the answer. The time is that of the whole exchange: httpx would allow it for every byte."""
        client = httpx.AsyncClient(verify=self._trusted, transport=self.transport, timeout=None, trust_env=False)
        async with (
            asyncio.timeout(TIMEOUT_S),
            client,
            client.stream("POST", url, content=body, headers=headers, extensions={"sni_hostname": host}) as answer,
        ):
            return answer.status_code

    def _write(self, delivery_id: int, status: int | None, error: str | None) -> None:
        is_done = status is not None and 200 <= status < 300
        with self.database.transaction() as session:
            delivery = webhooks.delivery(session, delivery_id)
            if delivery is None:
                return
            delivery.status_code, delivery.at, delivery.next_at = status, time.time(), None
            delivery.error = None if is_done else error or f"answered {status}"
            if not is_done and delivery.attempt <= len(BACKOFF_S):
                webhooks.retry(session, delivery, time.time() + BACKOFF_S[delivery.attempt - 1])

    def close(self) -> None:
        """Wait for the tries that are under way."""
        self._threads.shutdown()
