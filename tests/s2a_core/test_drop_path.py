"""Drop-path is a field of the request: the model has it, its plan is of it, and a model without it is refused."""

from __future__ import annotations

import pytest

from s2a_core.errors import InvalidInput
from s2a_core.models import load_model
from s2a_core.profiling.fingerprint import fingerprint
from s2a_core.requests import RunRequest, request_mark_of


def test_a_model_drops_more_the_deeper_and_has_another_fingerprint() -> None:
    plain, dropping = (load_model("s2a_tiny", drop_path=rate) for rate in (0.0, 0.2))
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in dropping.blocks]  # type: ignore[union-attr]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.2)
    marks = {fingerprint(model, "s2a_tiny", "bias", 32, "fp32", "cpu") for model in (plain, dropping)}
    assert len(marks) == 2
    assert request_mark_of(RunRequest("m")) != request_mark_of(RunRequest("m", drop_path=0.2))


def test_a_model_without_branches_is_refused_in_words() -> None:
    with pytest.raises(InvalidInput, match="vgg11 has no drop-path"):
        load_model("vgg11", None, 5, drop_path=0.1)
