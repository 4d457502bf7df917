"""A file is the old one or the whole new one."""

import json
import os
from pathlib import Path

import pytest

from s2a_core.outputs.atomic import plain, replacing, write_json, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with replacing(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": (1, 2.5)})
    assert "null" in (tmp_path / "a.json").read_text()
    assert plain({"path": tmp_path})["path"] == str(tmp_path)


def test_paths_that_are_no_text_do_not_break_a_document(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {strange: [strange, Path(strange)]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"caf\\udce9": ["caf\\udce9", "caf\\udce9"]}
