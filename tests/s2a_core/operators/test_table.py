"""Sites: one word per operator, exact storages where those exist."""

from __future__ import annotations

import torch

from s2a_core.operators import OPERATORS, operator_name, storages_of
from s2a_core.storage import Storage


def test_spellings_of_one_operator_share_a_name() -> None:
    assert operator_name(torch.Tensor.__matmul__) == operator_name(torch.matmul) == "matmul"


def test_options_begin_with_exact_storage_except_for_what_is_optional() -> None:
    assert storages_of("gelu")[0] is Storage.EXACT
    assert storages_of("relu") == (Storage.EXACT, Storage.MASK)
    assert storages_of("conv") == (Storage.EXACT, Storage.NONE)
    trained = {"weight": torch.ones(4, 4, 1, 1, requires_grad=True), "input": torch.ones(1, 4, 2, 2)}
    assert Storage.NONE not in OPERATORS["conv"].offered({**trained, "padding": 0})
    assert storages_of("region")[0] is Storage.NONE
