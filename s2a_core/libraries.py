"""What libraries read from the environment as they begin to work: the one place of the method that touches it."""

from __future__ import annotations

import os

# torch's profiler, whose memory events measure peaks, logs every start and stop as if a person had to know. It reads
# this at its first use, so that it need not be set before torch is imported.
QUIET = {"KINETO_LOG_LEVEL": "99"}


def quiet_libraries() -> None:
    """Ask libraries for errors only; what the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
