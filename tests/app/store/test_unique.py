"""The second row of a key is not stored, and the transaction goes on."""

from __future__ import annotations

from app.models import Profile
from app.store import plans
from app.store.database import Database
from app.store.unique import add_unique


def test_the_first_row_stays(filled: Database) -> None:
    with filled.transaction() as session:
        for number, is_first in ((1, True), (2, False)):
            row = Profile(fingerprint="f", device="cpu", document={"number": number})
            assert add_unique(session, row) is is_first
        session.expunge_all()
        assert add_unique(session, Profile(fingerprint="f", device="cpu", document={})) is False
    with filled.reading() as session:
        found = plans.profile(session, "f")
        assert found is not None
        assert found.document == {"number": 1}
