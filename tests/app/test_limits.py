"""A bucket of tokens per key, by a clock the test moves."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.errors import TooManyRequests
from app.limits import RateLimit


def test_a_key_may_burst_and_then_keeps_the_rate() -> None:
    now = [0.0]
    limit = RateLimit(2.0, 3, lambda: now[0])
    for _ in range(3):
        limit.spend("a")
    with pytest.raises(TooManyRequests, match=r"2 requests a second: try again in 0\.5 s") as refused:
        limit.spend("a")
    assert refused.value.details["retry_after_s"] == 0.5
    limit.spend("b")
    now[0] = 0.5
    limit.spend("a")
    with pytest.raises(TooManyRequests):
        limit.spend("a")


def test_no_rate_limits_nothing() -> None:
    limit = RateLimit(0.0, 1)
    for _ in range(100):
        limit.spend("a")


def test_too_many_requests_are_told_when_to_come_back(service: TestClient) -> None:
    limit = service.app.state.services.limit  # type: ignore[attr-defined]
    limit.rate_per_s, limit.burst = 0.1, 2
    answers = [service.get("/v1/jobs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "too_many_requests"
    assert 5 <= int(answers[2].headers["retry-after"]) <= 10
