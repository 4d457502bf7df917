"""Events of an attempt on disk: appended with their number before they are sent, kept until the service has them.

One JSON record a line: {"n": number, "type", "payload", "at"}. A process killed in the middle of a line leaves a torn
one, which readers leave out. When the disk is full, records wait in memory and go to the disk when it has room.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from app.private import private_folder

LAST_WORD = "last_word"  # how the attempt ended; the service applies it once
KEPT = 50_000  # records that may wait in memory for a full disk before their payloads are thinned
DURABLE = ("phase", "plan", "epoch", "checkpoint", "warning", LAST_WORD)  # synced as they are written


def spool_path(output: Path, epoch: int) -> Path:
    """Where an attempt spools, beside the job's output directory."""
    return output.parent / f"spool-{epoch}.jsonl"


def read_spool(path: Path) -> list[dict[str, Any]]:
    """Every whole record of a spool; empty without one."""
    if not path.is_file():  # neither without one nor where it is a device
        return []
    lines = path.read_bytes().split(b"\n")
    records: list[dict[str, Any]] = []
    for line in lines[:-1]:
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not isinstance(record, dict) or record.get("n") != len(records):
            break
        records.append(record)
    return records


class Spool:
    """Append-only. Safe for a writing loop and a sending thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_full = False
        self._lock = threading.RLock()
        self._count, self._sent = 0, 0
        self._on_disk, self._good, self._sent_offset = 0, 0, 0
        self._waiting: list[dict[str, Any]] = []
        self._thinned = 0
        self._file: int | None = None
        with contextlib.suppress(OSError):
            self._open()

    def _open(self) -> int:
        if self._file is None:
            private_folder(self.path.parent)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        return self._file

    def append(self, kind: str, payload: dict[str, Any]) -> None:
        """Keep a record; on disk when this returns, unless the disk is full."""
        with self._lock:
            record = {"n": self._count, "type": kind, "payload": payload, "at": time.time()}
            self._count += 1
            self._waiting.append(record)
            self._write()
            if kind in DURABLE:
                self.sync()

    def _write(self) -> None:
        """Move what waits in memory to the disk, as far as it has room."""
        while self._waiting:
            line = json.dumps(self._waiting[0]).encode() + b"\n"
            try:
                file = self._open()
                written = os.write(file, line)
                if written < len(line):
                    raise OSError("the disk took a part of a record")
            except OSError:
                self.is_full = True
                self._thin()
                if self._file is not None:
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._file, self._good)
                return
            self._good += len(line)
            self._on_disk += 1
            del self._waiting[0]
        self.is_full = False

    def _thin(self) -> None:
        """Keep memory bounded: the numbers of steps go first, the records stay."""
        while self._thinned < len(self._waiting) - KEPT:
            record = self._waiting[self._thinned]
            if record["type"] == "step":
                record["payload"] = {"thinned": True}
            self._thinned += 1

    def sync(self) -> None:
        """What was written survives a crash of the machine."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                os.fsync(self._file)

    def unsent(self, limit: int = 500) -> tuple[int, list[dict[str, Any]]]:
        """(number of the first, records) that the service has not confirmed, at most `limit`."""
        with self._lock:
            self._write()
            batch: list[dict[str, Any]] = []
            if self._sent < self._on_disk and self._file is not None:
                wanted = min(limit, self._on_disk - self._sent)
                with self.path.open("rb") as file:
                    file.seek(self._sent_offset)
                    batch = [json.loads(file.readline()) for _ in range(wanted)]
            if len(batch) < limit:
                start = max(0, self._sent - self._on_disk)
                batch += self._waiting[start : start + limit - len(batch)]
            return self._sent, batch

    def confirm(self, number: int) -> None:
        """The service has every record below `number`."""
        with self._lock:
            if number <= self._sent:
                return
            if self._sent < self._on_disk and self._file is not None:
                with self.path.open("rb") as file:
                    file.seek(self._sent_offset)
                    for _ in range(min(number, self._on_disk) - self._sent):
                        file.readline()
                    self._sent_offset = file.tell()
            self._sent = number
