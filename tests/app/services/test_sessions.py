"""Sessions: a token names a key, cannot be forged, and ends with the key."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.errors import NotAllowed, NotAuthorized
from app.services import sessions
from app.services.keys import KeyService
from app.services.sessions import SessionService
from app.store.database import Database


@pytest.fixture
def keys(tmp_path: Path) -> KeyService:
    database = Database(f"sqlite:///{tmp_path / 's2a.db'}")
    database.migrate()
    return KeyService(database)


def test_a_token_stands_for_its_key_in_every_process_of_the_folder(keys: KeyService, tmp_path: Path) -> None:
    key = keys.create("team-a", "read")
    token = SessionService(keys, tmp_path).begin(key)
    assert key not in token
    again = SessionService(keys, tmp_path).caller(token)
    assert again == keys.authenticate(key)
    assert (tmp_path / "session.secret").stat().st_mode & 0o777 == 0o600


def test_what_is_forged_expired_or_revoked_is_refused(
    keys: KeyService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SessionService(keys, tmp_path)
    key = keys.create("team-a", "read")
    token = service.begin(key)
    other = keys.create("team-b", "admin").split("_")[1]
    forged = [token[:-1] + ("0" if token[-1] != "0" else "1"), token.replace(key.split("_")[1], other), "", "a.b.c.d"]
    for text in forged:
        with pytest.raises(NotAuthorized):
            service.caller(text)
    monkeypatch.setattr(sessions, "LIFETIME_S", -1)
    with pytest.raises(NotAuthorized, match="sign in again"):
        service.caller(service.begin(key))
    admin = keys.authenticate(keys.create("admin", "admin"))
    keys.revoke(admin, key.split("_")[1])
    with pytest.raises(NotAuthorized, match="revoked"):
        service.caller(token)


def test_a_key_that_expires_ends_its_sessions(keys: KeyService, tmp_path: Path) -> None:
    made = keys.issue(None, "team-a", ["read"], expires_at=time.time() + 0.3)
    service = SessionService(keys, tmp_path)
    token = service.begin(str(made["key"]))
    time.sleep(0.4)
    with pytest.raises(NotAuthorized, match="expired"):
        service.caller(token)


def test_a_session_that_was_signed_out_is_over_for_every_copy_and_others_go_on(
    keys: KeyService, tmp_path: Path
) -> None:
    service = SessionService(keys, tmp_path)
    key = keys.create("team-a", "read")
    first, second = service.begin(key), service.begin(key)
    service.end(first)
    with pytest.raises(NotAuthorized, match="sign in again"):
        SessionService(keys, tmp_path).caller(first)
    assert service.caller(second).key_id == key.split("_")[1]
    service.end(first)


def test_a_change_needs_the_csrf_token_of_its_own_session(keys: KeyService, tmp_path: Path) -> None:
    service = SessionService(keys, tmp_path)
    first, second = (service.begin(keys.create("team-a", "write")) for _ in range(2))
    service.check_csrf(first, "GET", None)
    service.check_csrf(first, "POST", service.csrf(first))
    for given in (None, "", service.csrf(second)):
        with pytest.raises(NotAllowed):
            service.check_csrf(first, "DELETE", given)
