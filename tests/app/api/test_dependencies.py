"""Only a Bearer header carries a token."""

from __future__ import annotations

import asyncio

import pytest

from app.api.dependencies import bearer


@pytest.mark.parametrize(
    ("header", "token"), [(None, None), ("", None), ("Basic x", None), ("Bearer", None), ("bearer  x ", "x")]
)
def test_bearer(header: str | None, token: str | None) -> None:
    assert asyncio.run(bearer(header)) == token
