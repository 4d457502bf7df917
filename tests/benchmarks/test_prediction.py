"""Every predictor is asked about the step that is then measured."""

from __future__ import annotations

import pytest

from benchmarks import prediction


def test_ours_and_the_fit_are_near_and_mem_tracker_has_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "SIZE", 32)
    found = prediction.full("test_vit")
    assert found.ours_bytes == pytest.approx(found.measured_bytes, rel=0.05)
    assert found.two_point_bytes == pytest.approx(found.measured_bytes, rel=0.2)
    assert found.mem_tracker_bytes is not None
    assert found.mem_tracker_bytes > found.measured_bytes / 4


def test_a_compressed_step_has_no_figure_of_mem_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "SIZE", 32)
    found = prediction.compressed("test_vit")
    assert found.ours_bytes == pytest.approx(found.measured_bytes, rel=0.05)
    assert found.mem_tracker_bytes is None
