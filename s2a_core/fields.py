"""A field of a request as a declaration: what it means, what may be said in it, in the same words at every door."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from s2a_core.errors import InvalidInput, UnknownField

RULE = "rule"
LARGEST_SHOWN = 2**31 - 1  # a limit from here on is what a column holds, and no help to a person
_KIND_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Rule:
    """What may be said in a field.

    kind: bool, int, float or str; minimum, maximum: of a number, or of a text's length; above: a number must be more;
    pattern, pattern_words: what a text must look like; unsaid: what holds where nothing is said, in words;
    spoken: its name where people write it, if that is another; short: further names of its option;
    is_planned: whether a plan depends on it; words: a further check of a text, which raises what is wrong with it;
    numbers: of a number's field, those that a text stands for, which have its limits; raises for any other text;
    form: of a text that can be said in several, the one form.
    """

    kind: type
    help: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    pattern_words: str = ""
    unsaid: str = ""
    spoken: str = ""
    short: tuple[str, ...] = ()
    metavar: str = ""
    is_planned: bool = False
    words: Callable[[str], object] | None = None
    numbers: Callable[[str], tuple[int, ...]] | None = None
    form: Callable[[str], str] | None = None

    def check(self, name: str, value: Any) -> None:
        """Raises InvalidInput for a value that the field cannot have, with what it can."""
        name = self.spoken or name
        if self.numbers is not None and isinstance(value, str):
            for number in self.numbers(value):
                self.check(name, number)
            return
        is_kind = isinstance(value, (int, float) if self.kind is float else self.kind)
        if not is_kind or (self.kind is not bool and isinstance(value, bool)):
            raise InvalidInput(f"{name} must be {_KIND_WORDS[self.kind]}, not {_shown(value)}", details={"field": name})
        if self.choices and value not in self.choices:
            allowed = ", ".join(self.choices)
            hint = _hint(str(value), self.choices)
            raise InvalidInput(
                f"{name} must be one of {allowed}, not {_shown(value)}{hint}",
                details={"field": name, "allowed": list(self.choices)},
            )
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise InvalidInput(f"{name} must be {self.pattern_words}, not {_shown(value)}", details={"field": name})
        size = len(value) if self.kind is str else value
        if not self._is_inside(size):
            unit = " characters" if self.kind is str else ""
            raise InvalidInput(
                f"{name} must be {self.limits}{unit}, not {size if self.kind is str else _shown(value)}",
                details={"field": name, "minimum": self.minimum, "maximum": self.maximum, "above": self.above},
            )
        if self.words is not None:
            self.words(value)

    def plain(self, value: Any) -> Any:
        """The one form of a checked value that can be said in several: 224 for `224` and `224x224`."""
        if self.form is not None and isinstance(value, str):
            return self.form(value)
        numbers = self.numbers(value) if self.numbers is not None and isinstance(value, str) else ()
        return numbers[0] if len(set(numbers)) == 1 else value

    def _is_inside(self, size: float) -> bool:
        return (
            (self.kind is not float or math.isfinite(size))
            and (self.minimum is None or size >= self.minimum)
            and (self.maximum is None or size <= self.maximum)
            and (self.above is None or size > self.above)
        )

    @property
    def limits(self) -> str:
        """`from 1 to 10,000`; empty where everything of the kind will do."""
        low = f"above {_number(self.above)}" if self.above is not None else ""
        low = low or (f"at least {_number(self.minimum)}" if self.minimum is not None else "")
        if self.maximum is None or self.maximum >= LARGEST_SHOWN:
            return low
        if self.minimum is not None:
            return f"from {_number(self.minimum)} to {_number(self.maximum)}"
        return f"{low} and at most {_number(self.maximum)}".removeprefix(" and ")

    def read(self, text: Any) -> Any:
        """A number or truth value from a text, where the text is one; anything else as it is."""
        if not isinstance(text, str) or self.kind is str:
            return text
        if self.kind is bool:
            return {"true": True, "false": False}.get(text.lower(), text)
        try:
            return self.kind(text)
        except ValueError:
            return text


def asked(kind: type, default: Any, help: str, **rule: Any) -> Any:
    """A dataclass field with its Rule; default: what holds where nothing is said, `...` for what has to be said."""
    metadata = {RULE: Rule(kind, help, **rule)}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def rules_of(kind: type) -> dict[str, Rule]:
    """The rules of a dataclass by field, in its order; fields without one are the program's own."""
    return {f.name: f.metadata[RULE] for f in dataclasses.fields(kind) if RULE in f.metadata}


def check_all(rules: Mapping[str, Rule], values: Mapping[str, Any]) -> None:
    """Raises InvalidInput for the first value that its field cannot have; None is nothing said."""
    for name, rule in rules.items():
        if values.get(name) is not None:
            rule.check(name, values[name])


def require_known(names: Iterable[str], known: Collection[str], what: str = "a request") -> None:
    """Raises UnknownField, with the nearest name, for the first that is not known."""
    for name in names:
        if name not in known:
            raise UnknownField(str(name), nearest(str(name), known), what, known)


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Known names like a misspelt one: those that begin with it first, then the most alike."""
    known = list(known)
    low = name.lower()
    begins = sorted((other for other in known if low and other.lower().startswith(low)), key=len)
    alike = difflib.get_close_matches(name, known, count)
    return list(dict.fromkeys([*begins, *alike]))[:count]


def _hint(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _shown(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
