"""Runs a command in a pseudo-terminal and notes when it writes."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Transcript:
    """What a command wrote: (seconds since its start, text) of each piece; its exit code; seconds it took."""

    pieces: tuple[tuple[float, str], ...]
    code: int
    seconds: float

    @property
    def text(self) -> str:
        """Everything that was written, without the terminal's control sequences."""
        return _ESCAPES.sub("", "".join(text for _, text in self.pieces))

    @property
    def first_s(self) -> float:
        """Seconds until the first words; pieces of control sequences alone are none."""
        return next((at for at, text in self.pieces if _ESCAPES.sub("", text).strip()), self.seconds)

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two pieces of output, from the first words to the last ones."""
        times = [self.first_s, *(at for at, _ in self.pieces if at >= self.first_s)]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    @property
    def lines(self) -> list[str]:
        """Every line that was ever drawn, in order."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", self.text) if line.strip()]


def run_in_terminal(
    command: Sequence[str], columns: int, environment: Mapping[str, str], limit_s: float = 600.0
) -> Transcript:
    """Run a command whose standard streams are a terminal of that width; it is killed after limit_s."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    pieces = []
    try:
        while time.monotonic() - start < limit_s:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the last writer has closed the terminal
                break
            if not piece:
                break
            pieces.append((time.monotonic() - start, piece.decode("utf-8", "replace")))
        else:
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait(30)
    finally:
        os.close(ours)
    return Transcript(tuple(pieces), code, time.monotonic() - start)
