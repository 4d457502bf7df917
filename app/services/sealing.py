"""Secrets that the database holds sealed (Fernet: AES-128 and HMAC), under a key that stays in the data directory.

So neither a copy of the database nor a reader of its file has them. Rows of versions before this are clear text.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from app.private import kept_secret
from s2a_core.errors import S2AError

PREFIX = "fernet:"


class SealBroken(S2AError):
    """The key of the data directory is not the one that a secret was sealed under."""

    code = "seal_broken"


class Sealer:
    """Seals and opens; the key is made at the first use."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "seal.secret"

    def seal(self, text: str) -> str:
        """The text as the database may hold it; one that is sealed stays as it is."""
        return text if text.startswith(PREFIX) else PREFIX + self._fernet().encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text again. Raises SealBroken when the key has been lost or replaced."""
        if not sealed.startswith(PREFIX):
            return sealed
        try:
            return self._fernet().decrypt(sealed.removeprefix(PREFIX).encode()).decode()
        except InvalidToken as error:
            raise SealBroken(f"sealed under another key than {self._path.name}: make the webhook again") from error

    def _fernet(self) -> Fernet:
        return Fernet(kept_secret(self._path, Fernet.generate_key))
