"""Pages of teams: quotas are set by an admin, members see their own numbers, keys are made with an expiry."""

from __future__ import annotations

import re
import time

import pytest
from fastapi.testclient import TestClient

from app.models import Attempt
from app.models.tables import Job, JobStatus
from tests.app.web.conftest import Send
from tests.app.web.test_jobs import FIELDS

QUOTAS = {"weight": "2", "quota_jobs": "3", "quota_bytes": "64GiB", "gib_hours": "24"}


def made_team(send: Send, name: str = "vision") -> str:
    answer = send("/teams", name=name, **QUOTAS)
    assert answer.url.path.startswith("/teams/team_"), answer.text
    return answer.url.path


def test_a_team_is_made_with_quotas_and_saving_what_is_shown_changes_nothing(pages: TestClient, send: Send) -> None:
    path = made_team(send)
    before = pages.get(f"/v1{path}").json()
    assert (before["weight"], before["quota_jobs"], before["quota_bytes"]) == (2.0, 3, 64 * 2**30)
    assert before["quota_byte_seconds_per_day"] == 24 * 2**30 * 3600
    shown = dict(re.findall(r'<input id="q-\w+" name="(\w+)".*? value="([^"]*)"', pages.get(path).text))
    assert shown == QUOTAS
    send(path, **shown)
    assert pages.get(f"/v1{path}").json() == before
    assert "no limit" in send(path, weight="1").text
    assert pages.get(f"/v1{path}").json()["quota_jobs"] is None


@pytest.mark.parametrize(
    "wrong", [{"weight": "0"}, {"quota_bytes": "much"}, {"gib_hours": "many"}, {"quota_jobs": "x"}]
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(send: Send, wrong: dict[str, str]) -> None:
    path = made_team(send)
    answer = send(path, **{**QUOTAS, **wrong})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    (value,) = wrong.values()
    assert f'value="{value}"' in answer.text
    assert send("/teams", name="vision", weight="1").status_code == 422, "the name is taken"


def test_a_members_key_has_an_expiry_and_the_page_says_when_it_ends(pages: TestClient, send: Send) -> None:
    path = made_team(send)
    answer = send(f"{path}/keys", name="ana", scope="write", expires="30d")
    assert answer.status_code == 201
    assert re.search(r"s2a_[0-9a-f]{8}_[0-9a-f]{48}", answer.text)
    assert pages.get(f"{path}/keys").status_code == 200, "the page is fetched again from where the form was sent to"
    assert "expires <time" in pages.get(path).text
    assert ">in 30 d<" in pages.get(path).text
    (key,) = [key for key in pages.get("/v1/keys").json()["items"] if key["name"] == "ana"]
    assert key["expires_at"] == pytest.approx(time.time() + 30 * 86400, abs=60)
    assert pages.get("/v1/keys", params={"team": path.split("/")[-1]}).json()["items"] == [key]
    assert send(f"{path}/keys", expires="tomorrow").status_code == 422
    back = send(f"/keys/{key['id']}/revoke", team_id=path.split("/")[-1])
    assert back.url.path == path
    assert "revoked <time" in back.text


def test_a_member_sees_who_they_are_and_their_own_teams_numbers_alone(pages: TestClient, send: Send) -> None:
    path = made_team(send)
    send("/jobs", **FIELDS, name="of the admin's team")
    secret = pages.app.state.services.keys.create("vision", "write")  # type: ignore[attr-defined]
    pages.cookies.clear()
    pages.post("/sign-in", data={"key": secret})
    job = send("/jobs", **FIELDS).url.path.rsplit("/", 1)[1]
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        session.get(Job, job).status = JobStatus.RUNNING
        started = {"epoch": 1, "token_hash": "", "started_at": time.time() - 3600, "reserved_bytes": 2**30}
        session.add(Attempt(job_id=job, **started))
    for page in ("/", "/jobs", "/plans", "/datasets", "/predictions", "/jobs/new", path):
        assert "Signed in for team</span><b>vision</b><small>member</small>" in pages.get(page).text, page
    text = pages.get("/teams").text
    assert "1 <small>of 3 jobs</small>" in text
    assert "1 GiB <small>of 64 GiB</small>" in text
    assert "1 <small>of 24</small>" in text
    assert "Save" not in text
    assert text.count('class="row key') == 1
    assert pages.get("/v1/queue").json()["statuses"] == {"running": 1}, "jobs of other teams are counted"
    assert send(path, **QUOTAS).status_code == 422
    assert send("/teams", name="mine", **QUOTAS).status_code in (403, 422)
    assert send(f"{path}/keys", expires="never").status_code == 422


def test_lists_of_teams_and_keys_go_on_on_further_pages(
    pages: TestClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.teams.SHOWN", 1)
    path = made_team(send)
    for name in ("ana", "ben"):
        send(f"{path}/keys", name=name, scope="read", expires="never")
    for where in ("/teams", "/keys", path):
        (older,) = re.findall(rf'href="({where}\?after=[^"]+)">', pages.get(where).text)
        assert pages.get(older).status_code == 200
        assert pages.get(older).text != pages.get(where).text
