"""What may be read follows links, and holds within its block."""

from __future__ import annotations

from pathlib import Path

from s2a_core.datasets.access import DataAccess, data_access, limited_to


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "back").symlink_to(tmp_path / "in")
    access = DataAccess(roots=(tmp_path / "in",))
    allowed = [name for name in ("in", "in/x", "out", "in/link", "in/../out", "back") if access.allows(tmp_path / name)]
    assert allowed == ["in", "in/x", "back"]
    assert DataAccess().allows("/")


def test_rules_hold_within_their_block(tmp_path: Path) -> None:
    document = {"roots": [str(tmp_path)], "cache": str(tmp_path / "c"), "uses_hub_token": False}
    with limited_to(DataAccess.from_json(document)):
        assert data_access() == DataAccess((tmp_path,), tmp_path / "c", uses_hub_token=False)
        assert data_access().is_limited
    assert not data_access().is_limited
