"""One holder at a time; its token grows when the name changes hands."""

from __future__ import annotations

from fastapi.testclient import TestClient

from app.store import leases


def test_a_lease_has_one_holder_until_it_runs_out(service: TestClient) -> None:
    database = service.app.state.database  # type: ignore[attr-defined]

    def acquire(holder: str, now: float) -> int | None:
        with database.transaction() as session:
            return leases.acquire(session, "scheduler", holder, 10, now)

    assert acquire("a", 0) == 1
    assert acquire("b", 5) is None
    assert acquire("a", 8) == 1
    assert acquire("b", 17) is None
    assert acquire("b", 18.1) == 2
    assert acquire("a", 19) is None
    with database.transaction() as session:
        assert not leases.renew(session, "scheduler", "a", 10, 20)
        assert leases.renew(session, "scheduler", "b", 10, 20)
        leases.release(session, "scheduler", "a", 21)
        assert leases.current(session, "scheduler") == ("b", 2)
        leases.release(session, "scheduler", "b", 21)
    assert acquire("a", 21) == 3
