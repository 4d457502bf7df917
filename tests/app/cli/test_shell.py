"""Each kind of error has its exit code."""

from app.cli.shell import describe
from s2a_core.errors import InfeasibleBudget, InternalError, InvalidInput, JobFailed


def test_errors_map_to_exit_codes() -> None:
    infeasible = InfeasibleBudget(budget_bytes=1, min_feasible_budget_bytes=2, binding="weights", binding_bytes=2)
    errors = [InvalidInput("x"), infeasible, JobFailed("x"), InternalError("x"), ValueError("x")]
    assert [describe(e)["exit_code"] for e in errors] == [2, 3, 4, 1, 1]
    assert describe(infeasible)["details"]["min_feasible_budget_bytes"] == 2
