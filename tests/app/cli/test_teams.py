"""Teams on the command line, against the real service."""

from __future__ import annotations

import time

import pytest

from app.cli.teams import quotas_of
from s2a_core.errors import InvalidInput
from tests.app.cli.test_jobs import Run, document, run

__all__ = ["run"]


def test_a_team_is_made_changed_and_shown_by_its_name(run: Run) -> None:
    made = document(run("teams", "create", "vision", "--weight", "2", "--max-memory", "64GiB", "--json"))
    assert (made["weight"], made["quota_bytes"], made["quota_jobs"]) == (2.0, 64 * 2**30, None)
    words = ("--max-jobs", "3", "--max-memory", "none", "--max-gib-hours", "1.5")
    changed = document(run("teams", "change", "vision", *words, "--json"))
    assert (changed["weight"], changed["quota_bytes"], changed["quota_jobs"]) == (2.0, None, 3)
    assert changed["quota_byte_seconds_per_day"] == 3 * 2**29 * 3600
    text = run("teams").stdout
    assert "0 of 3" in text
    assert "0 of 1.5" in text
    assert "0 B of 64GiB" in run("teams", "change", "vision", "--max-memory", "64GiB").stdout
    changed["quota_bytes"] = 64 * 2**30
    assert document(run("teams", "show", "vision", "--json")) == changed
    assert "did you mean vision" in run("teams", "show", "vison").output
    assert "say what to change" in run("teams", "change", "vision").output


def test_a_key_with_an_expiry_says_who_it_is_and_when_it_ends(run: Run) -> None:
    made = document(run("keys", "create", "--team", "vision", "--name", "ana", "--expires", "12h", "--json"))
    assert made["expires_at"] == pytest.approx(time.time() + 12 * 3600, abs=60)
    assert run("keys", "create", "--team", "vision", "--expires", "soon").exit_code == 2
    mine = run("whoami", "--key", made["key"])
    assert "vision" in mine.stdout
    assert "ana" in mine.stdout
    assert document(run("whoami", "--key", made["key"], "--json"))["id"] == made["id"]
    assert run("teams", "create", "other", "--key", made["key"]).exit_code == 2
    assert [team["name"] for team in document(run("teams", "--key", made["key"], "--json"))["items"]] == ["vision"]


def test_quotas_that_are_no_amounts_are_refused() -> None:
    assert quotas_of(None, None, None, None) == {}
    for option in range(1, 4):
        said: list[str | None] = [None, None, None]
        said[option - 1] = "lots"
        with pytest.raises(InvalidInput):
            quotas_of(None, *said)
