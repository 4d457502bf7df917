"""Adapter names are read in any order and refused with what is allowed."""

import pytest

from s2a_core.adapters.spec import AdapterSpec, adapter_words
from s2a_core.errors import BadAdapter


def test_names_are_read_in_any_order() -> None:
    assert AdapterSpec.parse("prompt, bias") == AdapterSpec.parse("bias+prompt")
    assert str(AdapterSpec.parse("prompt,bias")) == "bias,prompt"
    assert AdapterSpec.parse("auto").is_auto


@pytest.mark.parametrize("text", ["lora-lite", "side-detached", "bias,side-detached", "lora", "auto-or-full"])
def test_a_variant_is_read_back_from_its_own_words(text: str) -> None:
    assert str(AdapterSpec.parse(text)) == text
    assert AdapterSpec.parse(str(AdapterSpec.parse(text))) == AdapterSpec.parse(text)


def test_documents_of_older_versions_are_read() -> None:
    light = {"kinds": ["lora"], "rank": 2, "reduction": 8, "detach": False, "lite": True, "or_full": False}
    assert AdapterSpec.from_json(light) == AdapterSpec(("lora-lite",), rank=2)
    assert AdapterSpec.from_json({"kinds": ["auto"], "or_full": True}) == AdapterSpec.parse("auto-or-full")


def test_auto_has_no_declaration_before_it_has_seen_a_model() -> None:
    with pytest.raises(BadAdapter, match="auto stands for other adapters"):
        _ = AdapterSpec().declarations


def test_each_kind_has_its_own_rank_unless_the_request_says_one() -> None:
    assert AdapterSpec.parse("lora-lite").rank_of("lora-lite") == 2
    assert AdapterSpec(("lora-lite",), rank=4).rank_of("lora-lite") == 4


def test_auto_alone_is_auto_for_the_model() -> None:
    assert AdapterSpec.parse("auto-alone") == AdapterSpec.parse("auto") == AdapterSpec()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("vpt", "no adapter"), ("", "no adapter"), ("lora,bias", "cannot be combined"), ("lora-lite,bias", "cannot")],
)
def test_what_does_not_exist_is_refused_with_what_is_allowed(text: str, reason: str) -> None:
    with pytest.raises(BadAdapter, match=reason):
        AdapterSpec.parse(text)


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(BadAdapter, match="at least 1"):
        AdapterSpec(("lora",), rank=0)


def test_words_for_people_say_which_variant() -> None:
    assert adapter_words(AdapterSpec.parse("lora-lite").to_json()) == "lora-lite"
    assert adapter_words({"kinds": ["bias", "side"], "detach": True}) == "bias+side-detached"
    assert [adapter_words(text) for text in ("bias,prompt", "of another version", None)] == [
        "bias+prompt", "of another version", "",
    ]  # fmt: skip
