"""Problem documents become the exceptions of the same names."""

from __future__ import annotations

import pytest

from app import errors as service
from app.client.errors import ProblemError, error_of
from s2a_core import errors as core
from s2a_core.errors import InvalidInput, S2AError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("not_found", service.NotFound),
        ("not_authorized", service.NotAuthorized),
        ("in_progress", service.InProgress),
        ("too_many_requests", service.TooManyRequests),
        ("bad_budget", core.BadBudget),
        ("unknown_model", core.UnknownModel),
        ("invalid_request", InvalidInput),
    ],
)
def test_a_code_has_its_exception(code: str, kind: type[S2AError]) -> None:
    error = error_of(400, {"code": code, "title": "words", "details": {"n": 1}, "request_id": "r"})
    assert type(error) is kind
    assert error.message == str(error) == "words"
    assert error.details["n"] == 1
    assert error.details["request_id"] == "r"


def test_an_infeasible_budget_keeps_its_numbers() -> None:
    error = error_of(422, {"code": "infeasible_budget", "title": "no", "details": {"min_feasible_budget_bytes": 7}})
    assert isinstance(error, core.InfeasibleBudget)
    assert error.min_feasible_budget_bytes == 7
    assert error.exit_code == 3


def test_every_wrong_place_is_named() -> None:
    places = [{"pointer": "/budget", "detail": "missing"}, {"parameter": "limit", "detail": "too large"}]
    assert str(error_of(422, {"code": "invalid_request", "errors": places})) == "/budget: missing; limit: too large"


def test_what_has_no_name_is_a_problem_with_its_document() -> None:
    error = error_of(502, {"title": "Bad Gateway"})
    assert type(error) is ProblemError
    assert "502" in str(error)
    assert str(error_of(500, {})) == "500: the service answered 500"
