"""Uploads in parts go on where they stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.client import upload
from app.client.errors import Unreachable
from app.errors import WrongState


class Service:
    """Keeps what arrives; fails as often as it is told to."""

    def __init__(self, failures: list[Exception]) -> None:
        self.kept, self.failures = bytearray(), failures

    def __call__(self, method: str, path: str, **content: Any) -> dict[str, int]:
        if method == "PATCH":
            assert int(content["headers"]["Upload-Offset"]) <= len(self.kept)
            if self.failures:
                failure = self.failures.pop(0)
                self.kept += content["content"][:3]  # a part of the part arrived
                raise failure
            assert int(content["headers"]["Upload-Offset"]) == len(self.kept)
            self.kept += content["content"]
        return {"received": len(self.kept)}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(upload, "PART_BYTES", 10)
    monkeypatch.setattr(upload.time, "sleep", lambda _: None)
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(range(100)))
    return path


def test_a_cut_upload_asks_what_arrived_and_sends_the_rest(archive: Path) -> None:
    service = Service([Unreachable("cut"), WrongState("elsewhere", details={"received": 6}), Unreachable("cut")])
    told: list[int] = []
    upload.send(service, archive, {"id": "up_1", "size": 100, "received": 0}, lambda at, _: told.append(at))
    assert bytes(service.kept) == bytes(range(100))
    assert told == sorted(told)
    assert told[-1] == 100


def test_an_upload_is_given_up_after_many_failures_and_an_ended_one_at_once(archive: Path) -> None:
    begun = {"id": "up_1", "size": 100, "received": 0}
    with pytest.raises(Unreachable):
        upload.send(Service([Unreachable("gone")] * 99), archive, begun)
    with pytest.raises(WrongState):
        upload.send(Service([WrongState("ended")]), archive, begun)
