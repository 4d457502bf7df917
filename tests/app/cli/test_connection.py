"""Options win over the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.connection import connect, in_full
from s2a_core.errors import InvalidInput


def test_the_address_and_the_key_come_from_the_settings_unless_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2A_URL", "http://set:1")
    monkeypatch.setenv("S2A_API_KEY", "s2a_set_0")
    with connect(None, None) as client:
        assert str(client._http.base_url) == "http://set:1"
        assert client._http.headers["authorization"] == "Bearer s2a_set_0"
    with connect("http://given:2", "s2a_given_0") as client:
        assert str(client._http.base_url) == "http://given:2"
        assert client._http.headers["authorization"] == "Bearer s2a_given_0"


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S2A_API_KEY", raising=False)
    with pytest.raises(InvalidInput, match="no API key"):
        connect(None, None)


def test_a_path_that_is_there_is_told_in_full_and_other_words_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "none").mkdir()
    assert in_full("photos") == str(tmp_path / "photos")
    assert [in_full(word) for word in ("", "digits", "hf:a/b", "none")] == ["", "digits", "hf:a/b", "none"]
