"""Arguments by name from torch's own signatures, in Python and in schemas; what a function has not is no argument."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from s2a_core.operators import OPERATORS, ROUTES
from s2a_core.operators.generic import Hooked
from s2a_core.operators.signature import REQUIRED, bound, defaults


def test_arguments_are_bound_by_position_then_name_then_default() -> None:
    x = torch.ones(1)
    assert bound(F.hardtanh, (x, -2.0), {"inplace": True}) == {
        "input": x, "min_val": -2.0, "max_val": 1.0, "inplace": True
    }  # fmt: skip
    assert bound(torch.sigmoid, (x,), {}) == bound(torch.Tensor.sigmoid, (x,), {}) == {"input": x}
    assert bound(torch.sigmoid, (x,), {"out": x}) is None
    assert bound(F.silu, (x, False, 3), {}) is None


def test_every_routed_function_has_a_signature_with_the_arguments_its_declaration_knows() -> None:
    for func, operator in ROUTES.items():
        if isinstance(operator, Hooked) and operator.name != "group_norm":
            continue
        names = defaults(func)
        assert names is not None, func
        assert next(iter(names)) in operator.knows
        required = {name for name, default in names.items() if default is REQUIRED}
        assert required <= operator.knows, func


def test_an_argument_that_is_not_known_is_known_by_its_default() -> None:
    x = torch.ones(1)
    assert OPERATORS["softplus"].bind(F.softplus, (x, 1, 20), {}) is not None
    assert OPERATORS["softplus"].bind(F.softplus, (x, 1, 19), {}) is None
    assert OPERATORS["gelu"].bind(F.gelu, (x,), {"approximate": "tanh"})["curve"].name == "gelu_tanh"  # type: ignore[index]
    assert OPERATORS["gelu"].bind(F.gelu, (x,), {"approximate": "other"}) is None
