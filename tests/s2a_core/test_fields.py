"""A rule says what a field may be, in words that name the field, the limits and the value."""

from __future__ import annotations

from typing import Any

import pytest

from s2a_core.errors import InvalidInput, UnknownField
from s2a_core.fields import Rule, nearest, require_known


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        (Rule(int, "", minimum=1, maximum=10_000), 10_001, "n must be from 1 to 10,000, not 10,001"),
        (Rule(int, ""), 1.5, "n must be a whole number, not 1.5"),
        (Rule(int, ""), True, "n must be a whole number, not True"),
        (Rule(float, "", above=0.0), 0.0, "n must be above 0, not 0.0"),
        (Rule(float, "", above=0.0, maximum=2.5), 3, "n must be above 0 and at most 2.5, not 3"),
        (Rule(float, "", minimum=0.0), float("nan"), "n must be at least 0, not nan"),
        (Rule(str, "", maximum=3), "abcd", "n must be at most 3 characters, not 4"),
        (Rule(str, "", choices=("mild", "none")), "mil", "n must be one of mild, none, not 'mil'; did you mean mild?"),
        (Rule(str, "", pattern="a+", pattern_words="only a's"), "b", "n must be only a's, not 'b'"),
        (Rule(str, "", spoken="name"), 3, "name must be text, not 3"),
    ],
)
def test_a_value_outside_its_rule_is_refused_with_what_is_allowed(rule: Rule, value: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rule.check("n", value)
    assert refused.value.message == words


def test_values_inside_their_rules_pass() -> None:
    Rule(int, "", minimum=1, maximum=3).check("n", 3)
    Rule(float, "", above=0.0).check("n", 1)
    Rule(str, "", maximum=3, choices=("abc",)).check("n", "abc")
    Rule(bool, "").check("n", True)


def test_texts_are_read_where_they_are_numbers() -> None:
    assert (Rule(int, "").read("3"), Rule(float, "").read("1e-4"), Rule(int, "").read("many")) == (3, 1e-4, "many")
    assert (Rule(bool, "").read("true"), Rule(str, "").read("3"), Rule(int, "").read(3)) == (True, "3", 3)


def test_names_that_begin_alike_are_nearest() -> None:
    names = ["deit_tiny_patch16_224", "deit3_small", "edgenext_small", "deit_tiny_distilled_patch16_224"]
    assert nearest("deit_tiny", names)[:2] == ["deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"]
    assert nearest("epohcs", ["model", "epochs"]) == ["epochs"]
    with pytest.raises(UnknownField, match="a request has no field 'zzz'; there are model, epochs"):
        require_known(["model", "zzz"], ["model", "epochs"])
