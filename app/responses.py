"""Answers that can always be sent."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

from app.text import dumps


class JsonAnswer(JSONResponse):
    """JSON, also of texts and numbers that were stored before they were checked."""

    def render(self, content: Any) -> bytes:
        """UTF-8."""
        return dumps(content).encode()
