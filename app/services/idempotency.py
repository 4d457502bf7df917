"""A request that is sent twice with one Idempotency-Key is done once; the second is given the first one's answer."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from app.errors import InProgress, KeyReused
from app.services.keys import Caller
from app.store import idempotency
from app.store.database import Database

LIFETIME_S = 24 * 3600.0
ABANDONED_S = 60.0  # a request that is still in progress after this died with its process


class IdempotencyService:
    """Remembers answers by team and key for a day."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def once(
        self, caller: Caller, key: str | None, request: Any, status: int, act: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], bool]:
        """(answer, whether it is a replay). request: what the key stands for, as JSON.

        Raises KeyReused for another request under the same key, and InProgress while the first one is being served.
        """
        if key is None:
            return act(), False
        body_hash = hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()
        with self.database.together() as session:  # the key, what was made and the answer: all of them or none
            known = self._begin(session, caller.team_id, key, body_hash)
            if known is not None:
                return known, True
            answer = act()
            idempotency.finish(session, caller.team_id, key, status, answer)
        return answer, False

    @staticmethod
    def _begin(session: Any, team_id: str, key: str, body_hash: str) -> dict[str, Any] | None:
        if idempotency.begin(session, team_id, key, body_hash):
            return None
        now = time.time()
        under_way = InProgress(
            f"the request with the Idempotency-Key {key!r} is being served: send it again later",
            details={"retry_after_s": 1},
        )
        row = idempotency.find(session, team_id, key)
        if row is None:  # it has failed since
            raise under_way
        if row.created_at > now - LIFETIME_S:
            if row.body_hash != body_hash:
                raise KeyReused(f"the Idempotency-Key {key!r} came with another request before")
            if row.response is not None:
                return dict(row.response)
            if row.created_at > now - ABANDONED_S:
                raise under_way
        idempotency.begin_again(row, body_hash)
        return None

    def expire(self) -> None:
        """Forget old answers."""
        with self.database.transaction() as session:
            idempotency.expire(session, time.time() - LIFETIME_S)
