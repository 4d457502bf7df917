"""From command line options to the RunRequest that the pipeline takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.errors import InvalidInput
from s2a_core.sizes import parse_bytes

if TYPE_CHECKING:
    from s2a_core.requests import RunRequest


def run_request(**options: Any) -> RunRequest:
    """A RunRequest from the options that were given; None means the pipeline's default.

    Raises BadBudget and InvalidInput before anything is loaded.
    """
    from s2a_core.requests import RunRequest

    if options.get("budget") is not None:
        options["budget_bytes"] = parse_bytes(options.pop("budget"))
    device = options.get("device")
    if device is not None and device.split(":")[0] not in ("cpu", "cuda"):
        raise InvalidInput(f"device must be cpu or cuda, not {device!r}", details={"allowed": ["cpu", "cuda"]})
    known = RunRequest.__dataclass_fields__
    return RunRequest(**{name: value for name, value in options.items() if value is not None and name in known})
