"""A document that is no JSON object is refused by the name of its file."""

from pathlib import Path

import pytest

from s2a_core.errors import InvalidInput
from s2a_core.outputs.read import read_document


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1]}')
    assert read_document(tmp_path / "a.json") == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "words"), [(b"{", "is not JSON"), (b"\xff", "is not JSON"), (b"[]", "no JSON object")]
)
def test_anything_else_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InvalidInput, match=f"a.json .*{words}"):
        read_document(tmp_path / "a.json")
