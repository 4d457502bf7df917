"""A dataset's source is of one kind, with that kind's fields only."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.schemas.resources import DatasetRequest


def test_sources_by_kind() -> None:
    made = DatasetRequest.model_validate({"name": "d", "source": {"kind": "hub", "source": "hf:a/b"}})
    assert made.source.kind == "hub"


@pytest.mark.parametrize(
    "source",
    [{"kind": "upload"}, {"kind": "upload", "size": 0}, {"kind": "path"}, {"kind": "ftp"}, {"kind": "hub", "size": 3}],
)
def test_sources_that_are_refused(source: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DatasetRequest.model_validate({"name": "d", "source": source})
