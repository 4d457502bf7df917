"""Sessions of the pages: a signed token that names a key, so that the key itself is typed in once and kept nowhere.

    token = key id . expiry . nonce . HMAC-SHA256(secret, the three before)

The secret stays in a file of the data directory. A revoked or expired key ends its sessions at once, signing out ends
one; that is written down in the database until the token would have expired.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from pathlib import Path

from app.errors import NotAllowed, NotAuthorized
from app.private import kept_secret
from app.services.keys import Caller, KeyService
from app.store import sessions

LIFETIME_S = 12 * 3600.0
SAFE = ("GET", "HEAD", "OPTIONS")


class SessionService:
    """Makes and checks tokens. folder: where the secret is kept, made at the first use."""

    def __init__(self, keys: KeyService, folder: Path) -> None:
        self.keys, self._path = keys, folder / "session.secret"
        self._secret = b""

    def prepare(self) -> None:
        """Make the secret while there is room for it; without room the first sign-in says so."""
        with contextlib.suppress(OSError):
            self._key()

    def begin(self, key_text: str) -> str:
        """A token for the holder of a key; NotAuthorized for a key that is none."""
        caller = self.keys.authenticate(key_text)
        body = f"{caller.key_id}.{int(time.time() + LIFETIME_S)}.{secrets.token_hex(12)}"
        return f"{body}.{self._sign('session', body)}"

    def caller(self, token: str) -> Caller:
        """Who holds a token; NotAuthorized for one that is forged, expired, signed out, or whose key has ended."""
        key_id, _, nonce = self._parts(token)
        with self.keys.database.reading() as session:
            if sessions.is_ended(session, nonce):
                raise NotAuthorized("the session has ended: sign in again")
        return self.keys.holder(key_id)

    def end(self, token: str) -> None:
        """Make a token useless, also where somebody has a copy of it."""
        _, expires_at, nonce = self._parts(token)
        with self.keys.database.transaction() as session:
            sessions.end(session, nonce, expires_at, time.time())

    def _parts(self, token: str) -> tuple[str, float, str]:
        """(key id, expiry, nonce) of a token that is ours and has not expired."""
        body, _, signature = token.rpartition(".")
        parts = body.split(".")
        is_ours = hmac.compare_digest(signature.encode(), self._sign("session", body).encode())
        if not is_ours or len(parts) != 3 or int(parts[1]) <= time.time():
            raise NotAuthorized("the session has ended: sign in again")
        return parts[0], float(parts[1]), parts[2]

    def csrf(self, token: str) -> str:
        """What a page sends along with a change, to show that the change comes from a page of ours."""
        return self._sign("csrf", token)[:32]

    def check_csrf(self, token: str, method: str, given: str | None) -> None:
        """NotAllowed for a change that does not carry the session's CSRF token."""
        if method in SAFE:
            return
        if not hmac.compare_digest((given or "").encode(), self.csrf(token).encode()):
            raise NotAllowed("this change did not come from a page of this session: load the page again")

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key(), f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        self._secret = self._secret or kept_secret(self._path, lambda: secrets.token_bytes(32))
        return self._secret
