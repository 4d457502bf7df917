"""What libraries read from the environment as they load, set before they do, in commands and in the runners of jobs."""

from __future__ import annotations

import os

# torch's profiler, whose memory events measure peaks, logs every start and stop as if a person had to know.
QUIET = {"KINETO_LOG_LEVEL": "99"}
# Jobs share processors. A thread that waits for another spins, by default for so long that it takes the processor from
# the thread it waits for: three trainings on two cores made a step ten times as long. Alone a step of small tensors
# loses up to a third, so a command, which has the machine to itself, leaves the default.
SHARING = {"GOMP_SPINCOUNT": "3000"}


def quiet_libraries() -> None:
    """Ask libraries for errors only; what the user has set stays. Has to run before torch is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
