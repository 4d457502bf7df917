"""A profile of an earlier request is found again; one that needs data to be read is not looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.profiles import cached_profile, profile_cache
from s2a_core.profiling.cache import remember
from s2a_core.requests import RunRequest, request_mark_of
from tests.s2a_core.planning.profiles import transformer


def test_a_profile_is_found_by_its_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    profile = transformer(1)
    wanted = RunRequest("vit", adapter="auto", num_classes=10)
    assert cached_profile(wanted) is None
    remember(profile_cache(), request_mark_of(wanted), profile)
    assert cached_profile(wanted) == profile
    assert cached_profile(replace(wanted, num_classes=11)) is None
    assert cached_profile(replace(wanted, data="digits")) is None
