"""Structured logs with structlog: one line per event, as JSON or for a person; keys and tokens never get through."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

SECRET = re.compile(r"(s2a_[0-9a-f]{4,}_)[0-9a-zA-Z]+|((?i:bearer|basic)\s+)[^\s,\"']+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
HIDDEN_NAMES = frozenset({"authorization", "cookie", "token", "secret", "password", "key"})


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: values of secret names, and what looks like a key anywhere, become ***."""
    for name, value in event.items():
        if name.lower() in HIDDEN_NAMES:
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = SECRET.sub(lambda found: f"{found[1] or found[2] or ''}***", value)
    return event


def configure(as_json: bool, stream: TextIO | None = None) -> None:
    """Send structlog's events to a stream, standard error by default."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
