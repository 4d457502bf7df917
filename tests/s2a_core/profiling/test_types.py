"""Profiles survive their document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from s2a_core.errors import StaleProfile
from s2a_core.profiling import Profile
from s2a_core.profiling.types import VERSION, WorkingSet


def test_a_profile_survives_its_document(vit_profile: Profile) -> None:
    document = json.loads(json.dumps(vit_profile.to_json()))
    assert Profile.from_json(document) == vit_profile
    assert document["activation_bytes_per_sample"] == vit_profile.activation_bytes_per_sample > 0
    assert {"storage", "bytes_per_sample"} <= set(document["sites"][0]["options"][0])


@pytest.mark.parametrize("document", [{"version": VERSION - 1}, {}, []])
def test_a_profile_of_another_version_is_refused(document: Any) -> None:
    with pytest.raises(StaleProfile, match=rf"version {VERSION}: profile again"):
        Profile.from_json(document)


def test_an_evaluation_of_one_image_has_its_own_measurement() -> None:
    measured = WorkingSet(900, 10, one_bytes=50)
    assert [measured.at(n) for n in (1, 2)] == [50, 920]
    assert WorkingSet(900, 10).at(1) == 910
