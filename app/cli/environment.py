"""What the libraries under a command read from the environment as they load, set before they do."""

from __future__ import annotations

import os

# torch's profiler, whose memory events measure peaks, logs every start and stop as if a person had to know.
QUIET = {"KINETO_LOG_LEVEL": "99"}


def quiet_libraries() -> None:
    """Ask libraries for errors only; what the user has set stays. Has to run before torch is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
