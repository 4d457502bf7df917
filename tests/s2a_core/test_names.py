"""Names become printable and distinct, and those that are both stay as they are."""

from __future__ import annotations

from s2a_core.names import distinct, printable


def test_printable_names_stay_and_bytes_of_no_text_are_written_out() -> None:
    assert printable("Müller/猫 \u200d.png") == "Müller/猫 \u200d.png"
    assert printable(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\udce9"


def test_equal_names_are_told_apart() -> None:
    assert distinct(["a", "b", "a", "a (2)", "a"]) == ["a", "b", "a (2)", "a (2) (2)", "a (3)"]
    assert distinct(["b", "a"]) == ["b", "a"]
