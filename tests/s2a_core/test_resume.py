"""A plan is kept beside a checkpoint and read again only where there is one."""

from __future__ import annotations

from pathlib import Path

from s2a_core.resume import keep_plan, kept_plan
from s2a_core.train.checkpoint import save_checkpoint
from tests.s2a_core.runs import hand_plan


def test_a_plan_is_kept_for_its_checkpoint(tmp_path: Path) -> None:
    keep_plan(tmp_path, hand_plan().to_json())
    assert kept_plan(tmp_path) is None
    save_checkpoint(tmp_path, {})
    assert kept_plan(tmp_path) == hand_plan()
    for text in ("{", '{"version": 0}', "[]"):
        (tmp_path / "plan.json").write_text(text)
        assert kept_plan(tmp_path) is None
    (tmp_path / "plan.json").unlink()
    assert kept_plan(tmp_path) is None
