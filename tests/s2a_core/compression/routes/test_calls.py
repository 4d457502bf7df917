"""Arguments by name, and refusing what cannot be packed before anything runs."""

from __future__ import annotations

import pytest
import torch

from s2a_core.compression.routes.calls import bound, check
from s2a_core.errors import UnsupportedSite


def test_arguments_are_bound_by_position_then_name() -> None:
    assert bound(("a", "b", "c"), {"c": 3}, (1,), {"b": 2}) == {"a": 1, "b": 2, "c": 3}


def test_an_unsupported_dtype_or_device_names_the_site() -> None:
    with pytest.raises(UnsupportedSite, match=r"blocks\.0:gelu has dtype float64"):
        check("blocks.0:gelu", torch.zeros(2, dtype=torch.float64))
    with pytest.raises(UnsupportedSite, match=r"blocks\.0:gelu is on meta"):
        check("blocks.0:gelu", torch.zeros(2, device="meta"))
