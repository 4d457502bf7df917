"""What libraries read from the environment as they begin to work: the one place of the method that touches it."""

from __future__ import annotations

import logging
import os
import warnings

# torch's profiler, whose memory events measure peaks, logs every start and stop as if a person had to know. It reads
# this at its first use, so that it need not be set before torch is imported.
QUIET = {"KINETO_LOG_LEVEL": "99"}

LOGGERS = ("bitsandbytes",)  # peft imports it where it is installed, and it warns of kernels that nothing here uses


def quiet_libraries() -> None:
    """Ask libraries for errors only; what the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.ERROR)
    # tqdm, which timm's hub imports, asks in every notebook for widgets that nothing here shows.
    warnings.filterwarnings("ignore", message="IProgress not found")
