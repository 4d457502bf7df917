"""Whether the hub of weights can be reached, known in two seconds instead of after a library's retries."""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

PATIENCE_S = 2.0


def is_reachable(address: str, patience_s: float = PATIENCE_S) -> bool:
    """Whether anybody answers there, an error included, through the proxy that the environment names.

    In a thread, because looking up a name takes as long as the system likes.
    """
    answers: list[bool] = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            with contextlib.suppress(urllib.error.HTTPError):  # is an answer
                urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=patience_s).close()
            answers.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience_s)
    return bool(answers)


@contextlib.contextmanager
def hub(patience_s: float = PATIENCE_S) -> Iterator[bool]:
    """Whether Hugging Face's hub answers. Where it does not, its library looks inside its cache only, meanwhile."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    is_there = not before and is_reachable(constants.ENDPOINT, patience_s)
    constants.HF_HUB_OFFLINE = before or not is_there
    try:
        yield is_there
    finally:
        constants.HF_HUB_OFFLINE = before
