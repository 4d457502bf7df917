"""Plans survive their document and say what compress applies."""

from __future__ import annotations

import json

import pytest

from s2a_core.errors import InvalidInput
from s2a_core.planning import Plan, plan
from tests.s2a_core.planning.profiles import transformer


def test_a_plan_survives_its_document() -> None:
    made = plan(transformer(2), 200_000, batch_size=4)
    document = json.loads(json.dumps(made.to_json()))
    assert Plan.from_json(document) == made
    assert {"name", "storage"} <= set(document["sites"][0])
    assert {"peak_bytes", "breakdown", "gradient_error", "relative_step_time"} <= set(document["predicted"])


def test_another_version_is_refused() -> None:
    document = plan(transformer(1), 200_000, batch_size=4).to_json()
    with pytest.raises(InvalidInput, match="version"):
        Plan.from_json({**document, "version": 0})
    with pytest.raises(InvalidInput):
        Plan.from_json({"version": document["version"]})


def test_the_policy_is_what_the_plan_says() -> None:
    made = plan(transformer(1), 200_000, batch_size=4)
    assert dict(made.policy.sites) == dict(made.sites)
    assert made.policy.chunk_samples == made.chunk_samples


def test_plans_and_profiles_are_a_line_in_a_notebook() -> None:
    profile = transformer(12)
    made = plan(profile, 40 * 2**20, 4)
    for shown, words in ((repr(profile), ("sites", "a sample")), (repr(made), ("within 40 MiB", "gradient error"))):
        assert len(shown) < 400
        assert "\n" not in shown
        assert all(word in shown for word in words)
