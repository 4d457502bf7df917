"""A plan is explained with its parts, its groups and its baselines."""

import io

from app.cli.explain import explain_plan, summarise
from app.cli.terminal import Terminal

PLAN = {
    "model": "m",
    "adapter": "bias",
    "budget_bytes": 2**28,
    "predicted": {
        "peak_bytes": 2**27,
        "breakdown": {"weights": 2**26, "held": 2**26},
        "gradient_error": 0.034,
        "launches": 12345,
        "is_host_bound": True,
    },
    "measured_gradient_error": 0.0312,
    "sites": [{"name": f"blocks.{i}.mlp.act:gelu", "storage": "b2"} for i in range(12)],
    "baselines": [{"name": "full", "peak_bytes": 2**30}],
    "min_feasible_budget_bytes": 2**25,
}


def test_a_plan_is_explained() -> None:
    out = io.StringIO()
    Terminal(False, out, out).say(explain_plan(PLAN))
    for words in (
        "weights 64 MiB",
        "gradient error 0.034, measured 0.031, step",
        "blocks.*.mlp.act:gelu (12)",
        "over the budget",
        "12,345 kernel launches a step, bound by the host that launches them",
        "smallest budget that fits is 32 MiB",
    ):
        assert words in out.getvalue()


def test_names_with_numbers_are_joined() -> None:
    assert summarise(["a.0.b:x", "a.1.b:x", "c"]) == "a.*.b:x (2), c"
