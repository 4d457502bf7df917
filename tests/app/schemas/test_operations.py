"""Keys have at least one scope, webhooks known events."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.schemas.operations import KeyRequest, TeamChange, WebhookRequest


def test_a_change_holds_what_was_said_only() -> None:
    assert TeamChange.model_validate({"quota_jobs": None}).model_dump(exclude_unset=True) == {"quota_jobs": None}


def test_what_is_refused() -> None:
    for model, values in (
        (KeyRequest, {"team": "a", "scopes": []}),
        (KeyRequest, {"team": "a", "scopes": ["root"]}),
        (WebhookRequest, {"url": "https://example.org", "events": ["step"]}),
        (TeamChange, {"weight": 0}),
    ):
        with pytest.raises(ValidationError):
            model.model_validate(values)
