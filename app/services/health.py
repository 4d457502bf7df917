"""Whether the service can take work: the database takes changes, and the data directory has room."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from app.store.database import Database
from s2a_core.sizes import format_bytes

SPARE_BYTES = 16 * 2**20  # below, the database and the spools stop within minutes


class HealthService:
    """What `/readyz` asks."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self.database, self.data_dir = database, data_dir

    def check(self) -> None:
        """Raises the database's own error where it refuses changes, OSError (ENOSPC) where the disk is full."""
        self.database.check()
        free = shutil.disk_usage(self.data_dir).free
        if free < SPARE_BYTES:
            raise OSError(errno.ENOSPC, f"{format_bytes(free)} are free", str(self.data_dir))
