"""Names become printable and distinct, and those that are both stay as they are."""

from __future__ import annotations

import pytest

from s2a_core.names import distinct, printable, timm_name
from s2a_core.requests import RunRequest


def test_printable_names_stay_and_bytes_of_no_text_are_written_out() -> None:
    assert printable("Müller/猫 \u200d.png") == "Müller/猫 \u200d.png"
    assert printable(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\udce9"


def test_equal_names_are_told_apart() -> None:
    assert distinct(["a", "b", "a", "a (2)", "a"]) == ["a", "b", "a (2)", "a (2) (2)", "a (3)"]
    assert distinct(["b", "a"]) == ["b", "a"]


@pytest.mark.parametrize("said", ["resnet18.a1_in1k", "timm/resnet18.a1_in1k", "hf_hub:timm/resnet18.a1_in1k"])
def test_a_model_has_one_name_however_the_hub_calls_it(said: str) -> None:
    assert timm_name(said) == RunRequest(model=said).model == "resnet18.a1_in1k"


def test_what_is_not_timms_on_the_hub_keeps_its_name() -> None:
    assert timm_name("facebook/timm/x") == "facebook/timm/x"
