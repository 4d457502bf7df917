"""Every error has one status and one problem document."""

from __future__ import annotations

import pytest

from app.errors import NotAllowed, NotAuthorized, NotFound, StaleAttempt, WrongState, status_of
from app.problems import problem
from s2a_core.errors import BadBudget, InternalError, S2AError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("x"), 404),
        (NotAuthorized("x"), 401),
        (NotAllowed("x"), 403),
        (WrongState("x"), 409),
        (StaleAttempt("x"), 409),
        (BadBudget("x"), 422),
        (InternalError("x"), 500),
    ],
)
def test_the_status_of_an_error(error: S2AError, status: int) -> None:
    assert status_of(error) == status


def test_a_problem_names_its_code() -> None:
    assert problem(404, "not_found", "no job", {"id": "j"})["type"] == "urn:s2a:error:not_found"
