"""Errors carry their numbers, a code and an exit code."""

from __future__ import annotations

import weakref

from s2a_core import errors
from s2a_core.errors import InfeasibleBudget, without_frames


def test_an_infeasible_budget_says_what_would_fit_and_what_binds() -> None:
    error = errors.InfeasibleBudget(
        budget_bytes=2**20, min_feasible_budget_bytes=2**30, binding="weights", binding_bytes=2**29
    )
    assert str(error) == (
        "nothing fits 1.0 MiB: the smallest budget that does is 1,024 MiB; the largest part is weights (512 MiB)"
    )
    assert error.exit_code == 3
    assert error.details["min_feasible_budget_bytes"] == 2**30


def test_every_error_has_a_code_of_its_own_and_stands_in_the_tree() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.S2AError)]
    assert len({c.code for c in classes}) == len(classes)
    assert errors.__doc__ is not None
    assert all(c.__name__ in errors.__doc__ for c in classes)


def test_an_unknown_model_names_its_neighbours() -> None:
    assert "did you mean deit_tiny" in str(errors.UnknownModel("deit_tny", ["deit_tiny"]))


def test_an_error_without_frames_keeps_nothing_alive_that_failed_with_it() -> None:
    """Its own frames, and those of the error that it was raised from."""

    class Model:
        pass

    seen: list[weakref.ref[Model]] = []

    def fails() -> None:
        inner = Model()
        seen.append(weakref.ref(inner))
        raise RuntimeError("out of memory")

    def refused() -> None:
        outer = Model()
        seen.append(weakref.ref(outer))
        try:
            fails()
        except RuntimeError as error:
            raise InfeasibleBudget(budget_bytes=1, min_feasible_budget_bytes=2, binding="x", binding_bytes=1) from error

    try:
        refused()
    except InfeasibleBudget as error:
        held = without_frames(error)
    assert isinstance(held.__cause__, RuntimeError)
    assert [ref() for ref in seen] == [None, None]


def test_an_error_that_stands_behind_its_own_cause_has_an_end() -> None:
    """One that is remembered and raised again, while what it once caused is handled."""
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__context__, second.__context__ = second, first
    assert without_frames(first) is first
