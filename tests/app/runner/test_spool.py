"""What was said is on disk in order, is handed out until it is confirmed, and survives a torn line and a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.runner import spool as module
from app.runner.spool import Spool, read_spool, spool_path

FULL = Path("/dev/full")


def test_records_are_on_disk_as_they_are_said(tmp_path: Path) -> None:
    spool = Spool(spool_path(tmp_path / "job" / "output", 3))
    for number in range(3):
        spool.append("step", {"step": number})
    assert spool.path == tmp_path / "job" / "spool-3.jsonl"
    assert [(r["n"], r["payload"]["step"]) for r in read_spool(spool.path)] == [(0, 0), (1, 1), (2, 2)]


def test_what_is_not_confirmed_is_handed_out_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool-1.jsonl")
    for number in range(5):
        spool.append("step", {"step": number})
    assert [r["n"] for r in spool.unsent(2)[1]] == [0, 1]
    assert [r["n"] for r in spool.unsent(2)[1]] == [0, 1]
    spool.confirm(2)
    spool.confirm(1)
    assert spool.unsent(2)[0] == 2
    assert [r["n"] for r in spool.unsent()[1]] == [2, 3, 4]
    spool.confirm(5)
    assert spool.unsent() == (5, [])


def test_a_line_torn_by_a_kill_and_everything_after_it_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool-1.jsonl")
    spool.append("step", {})
    whole = spool.path.read_bytes()
    for torn in (whole[:-3], b'{"n": 1, "ty', b"\xff\n", b'{"n": 7, "type": "step", "payload": {}}\n'):
        spool.path.write_bytes(whole + torn)
        assert [r["n"] for r in read_spool(spool.path)] == [0]
    assert read_spool(tmp_path / "none") == []


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_costs_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spool-1.jsonl"
    path.symlink_to(FULL)
    spool = Spool(path)
    for number in range(4):
        spool.append("step", {"step": number})
    assert spool.is_full
    assert [r["n"] for r in spool.unsent()[1]] == [0, 1, 2, 3]
    spool.confirm(2)
    assert [r["n"] for r in spool.unsent()[1]] == [2, 3]


def test_a_disk_that_has_room_again_gets_everything_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool-1.jsonl")
    spool.append("step", {"step": 0})
    write, room = module.os.write, [10]

    def little(file: int, line: bytes) -> int:
        taken = min(len(line), room[0])
        room[0] -= taken
        if not taken:
            raise OSError(28, "No space left on device")
        return write(file, line[:taken])

    monkeypatch.setattr(module.os, "write", little)
    spool.append("step", {"step": 1})
    spool.append("epoch", {"epoch": 1})
    assert spool.is_full
    assert [r["n"] for r in read_spool(spool.path)] == [0]
    assert [r["n"] for r in spool.unsent()[1]] == [0, 1, 2]
    room[0] = 10**6
    spool.append("step", {"step": 2})
    assert not spool.is_full
    assert [r["n"] for r in read_spool(spool.path)] == [0, 1, 2, 3]
    spool.confirm(4)
    assert spool.unsent() == (4, [])


def test_memory_stays_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    spool = Spool(tmp_path / "spool-1.jsonl")
    monkeypatch.setattr(module.os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    for number in range(4):
        spool.append("step", {"step": number})
    spool.append("epoch", {"epoch": 1})
    payloads = [r["payload"] for r in spool.unsent()[1]]
    assert payloads == [{"thinned": True}, {"thinned": True}, {"thinned": True}, {"step": 3}, {"epoch": 1}]
