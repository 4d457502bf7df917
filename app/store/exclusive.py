"""One server on an SQLite file: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from sqlalchemy.engine import make_url

from s2a_core.errors import InvalidInput


class ExclusiveServer:
    """Held from `acquire` to `release`. On PostgreSQL, which takes several servers, it does nothing."""

    def __init__(self, url: str) -> None:
        place = make_url(url)
        is_file = place.get_backend_name() == "sqlite" and place.database not in (None, "", ":memory:")
        self.path = Path(f"{place.database}.lock") if is_file else None
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises InvalidInput when another server has the database. Once held, it stays so."""
        if self.path is None or self._file is not None:
            return
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip()
            os.close(file)
            message = (
                f"another s2a server (pid {holder}) uses {str(self.path).removesuffix('.lock')}: SQLite allows one. "
                "Stop it, or run several servers on PostgreSQL (--db postgresql+psycopg://...)"
            )
            raise InvalidInput(message, details={"pid": holder, "lock": str(self.path)}) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Let another server start."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None
