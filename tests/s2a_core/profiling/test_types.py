"""Profiles survive their document."""

from __future__ import annotations

import json

from s2a_core.profiling import Profile


def test_a_profile_survives_its_document(vit_profile: Profile) -> None:
    document = json.loads(json.dumps(vit_profile.to_json()))
    assert Profile.from_json(document) == vit_profile
    assert document["activation_bytes_per_sample"] == vit_profile.activation_bytes_per_sample > 0
    assert {"storage", "bytes_per_sample"} <= set(document["sites"][0]["options"][0])
