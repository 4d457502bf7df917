"""Ids say what they name and do not repeat."""

from __future__ import annotations

from app.models.base import new_id


def test_ids_carry_their_prefix_and_differ() -> None:
    made = {new_id("job")() for _ in range(1000)}
    assert len(made) == 1000
    assert all(text.startswith("job_") and len(text) == 16 for text in made)
