"""Profiles on disk: found by fingerprint, never half-written, refused when stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s2a_core.profiling.cache import load_profile, recall, remember, request_mark, save_profile
from tests.s2a_core.planning.profiles import transformer


def test_a_profile_is_found_again(tmp_path: Path) -> None:
    profile = transformer(2)
    path = save_profile(tmp_path / "profiles", profile)
    assert load_profile(tmp_path / "profiles", profile.fingerprint) == profile
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_read_counts_as_missing(tmp_path: Path) -> None:
    profile = transformer(1)
    assert load_profile(tmp_path, profile.fingerprint) is None
    save_profile(tmp_path, profile).write_text('{"version": 1, "sites"')
    assert load_profile(tmp_path, profile.fingerprint) is None


def test_a_profile_of_another_version_counts_as_missing(tmp_path: Path) -> None:
    profile = transformer(1)
    save_profile(tmp_path, replace(profile, version=profile.version - 1))
    assert load_profile(tmp_path, profile.fingerprint) is None


def test_a_request_changes_with_its_weights_file(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    first = request_mark("vit", adapter="bias", weights=str(weights))
    assert request_mark("vit", adapter="bias", weights=str(weights)) == first
    weights.write_bytes(b"other")
    assert request_mark("vit", adapter="bias", weights=str(weights)) != first
    assert recall(tmp_path, first) is None
    remember(tmp_path, first, transformer(1))
    assert recall(tmp_path, first) == transformer(1)
