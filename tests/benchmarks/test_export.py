"""Models of several families at another image size: weights, exports and printed lines agree with timm."""

from __future__ import annotations

import pytest

from benchmarks import export


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "swinv2_tiny_window8_256"])
def test_another_size_gives_timms_logits(name: str) -> None:
    row = export.check(name)
    assert row.failure == ""
    assert row.image_size not in (None, row.own_size)
    assert row.resampled is not None
    assert row.resampled <= export.TOLERANCE
    assert row.exported is not None
    assert row.exported <= export.TOLERANCE
    assert row.line.startswith("timm.create_model(")


def test_a_difference_or_a_failure_is_not_good() -> None:
    assert not export.Exported("m", "f", 224, 96, resampled=1e-2, exported=0.0).is_good
    assert not export.Exported("m", "f", 224, 96, failure="x").is_good
    assert not export.Exported("m", "f", 224, 96, resampled=float("nan"), exported=0.0).is_good
    assert "refused: no" in export.table([export.Exported("m", "f", 224, reason="no; 224 works")])
