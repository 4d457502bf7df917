import math
from pathlib import Path

import pytest

from benchmarks.operators import TARGETS, Row, line, main, real_rows, synthetic_rows

WEIGHTS, PHOTOS = "deit_tiny_patch16_224.fb_in1k.fp32.safetensors", "trashnet6_256px.tar"


def test_codes_of_synthetic_tensors_are_no_worse_than_a_uniform_quantiser() -> None:
    rows = list(synthetic_rows())
    assert len(rows) == 14
    assert [line(row) for row in rows if not row.is_met] == []


def test_a_figure_is_compared_as_its_target_is_written() -> None:
    assert Row("x", 4, 0.99874, 0.05, 0.998, 0.05).is_met
    assert Row("x", 4, 0.9979, 0.05, 0.998, 0.05).is_met
    assert not Row("x", 4, 0.9974, 0.05, 0.998, 0.06).is_met
    assert not Row("x", 4, 0.9999, 0.07, 0.998, 0.06).is_met
    assert not Row("x", 4, math.nan, 0.05, 0.998, 0.06).is_met


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_operator_is_worse_than_its_target_on_real_weights(shared_data: Path) -> None:
    rows = list(real_rows(shared_data / WEIGHTS, shared_data / PHOTOS))
    assert {(row.what, row.bits) for row in rows} == set(TARGETS)
    assert [line(row) for row in rows if not row.is_met] == []


@pytest.mark.shared
def test_the_command_prints_the_table(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(shared_data / WEIGHTS), str(shared_data / PHOTOS), "--only", "no such row"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 15
