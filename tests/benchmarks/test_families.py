"""The list covers timm: each name exists and belongs to the family it stands for."""

from __future__ import annotations

import timm

from benchmarks.families import SMALLEST


def test_every_name_is_a_model_of_its_family() -> None:
    assert len(SMALLEST) >= 60
    for family, name in SMALLEST.items():
        module = timm.models.model_entrypoint(name).__module__
        assert module.rpartition(".")[2] == family
