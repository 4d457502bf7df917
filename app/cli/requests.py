"""From command line options to the RunRequest that the pipeline takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from s2a_core.errors import InvalidInput
from s2a_core.sizes import parse_bytes

if TYPE_CHECKING:
    from s2a_core.requests import RunRequest


def check_device(name: str) -> None:
    """Raise InvalidInput for anything but cpu, cuda and cuda:N."""
    if not re.fullmatch(r"(cpu|cuda)(:\d+)?", name):
        raise InvalidInput(
            f"device must be cpu or cuda (cuda:N of several), not {name!r}", details={"allowed": ["cpu", "cuda"]}
        )


def run_request(**options: Any) -> RunRequest:
    """A RunRequest from the options that were given; None means the pipeline's default.

    Raises BadBudget and InvalidInput before anything is loaded.
    """
    from s2a_core.requests import RunRequest

    if options.get("budget") is not None:
        options["budget_bytes"] = parse_bytes(options.pop("budget"))
    if options.get("device") is not None:
        check_device(options["device"])
    known = RunRequest.__dataclass_fields__
    return RunRequest(**{name: value for name, value in options.items() if value is not None and name in known})
