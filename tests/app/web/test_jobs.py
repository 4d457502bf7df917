"""Pages of jobs: submit by form, see one, change it; what is wrong stands beside its field."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any, ClassVar

from fastapi.testclient import TestClient
from sqlalchemy.event import listen, remove

from app.models.tables import Event
from tests.app.web.conftest import Send

FIELDS = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB", "epochs": "2", "objective": "accuracy"}


def test_a_submitted_job_is_shown_with_its_budget_and_reason_and_can_be_cancelled(send: Send) -> None:
    answer = send("/jobs", **FIELDS, name="first try")
    assert answer.url.path.startswith("/jobs/job_")
    assert "first try" in answer.text
    assert "64 MiB" in answer.text
    assert "waits for the scheduler" in answer.text
    assert "data-events=" in answer.text
    assert "paused on request" in send(f"{answer.url.path}/pause").text
    cancelled = send(f"{answer.url.path}/cancel").text
    assert "cancelled" in cancelled
    assert "data-events=" not in cancelled


def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_in_stays(send: Send) -> None:
    answer = send("/jobs", **{**FIELDS, "budget": "much", "epochs": "0", "name": "<b>kept</b>"})
    assert answer.status_code == 422
    assert answer.text.count('aria-invalid="true"') == 2
    assert 'value="&lt;b&gt;kept&lt;/b&gt;"' in answer.text
    assert send("/jobs", **{**FIELDS, "data": "ds_missing"}).text.count("no dataset ds_missing") == 1


def test_fields_carry_their_limits_and_where_names_are_suggested(pages: TestClient) -> None:
    class Inputs(HTMLParser):
        found: ClassVar[dict[str, dict[str, str | None]]] = {}

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "input":
                given = dict(attrs)
                self.found[str(given.get("id"))] = given

    inputs = Inputs()
    inputs.feed(pages.get("/jobs/new").text)
    model, epochs = inputs.found["f-model"], inputs.found["f-epochs"]
    assert ("required" in model, model["data-suggest"]) == (True, "/v1/models?limit=12&q=")
    assert (epochs["min"], epochs["max"]) == ("1", "10000")
    assert pages.get(f"{model['data-suggest']}s2a").json()["items"][0]["name"] == "s2a_tiny"


def test_an_unknown_action_and_another_teams_job_are_pages_of_their_own(pages: TestClient, send: Send) -> None:
    job = send("/jobs", **FIELDS).url.path
    assert send(f"{job}/explode").status_code == 404
    key = pages.app.state.services.keys.create("other", "read")  # type: ignore[attr-defined]
    pages.cookies.clear()
    pages.post("/sign-in", data={"key": key})
    answer = pages.get(job)
    assert answer.status_code == 404
    assert "<h1>Nothing is here</h1>" in answer.text
    assert "New job" not in pages.get("/").text
    assert send("/jobs", **FIELDS).status_code == 422


def test_the_list_can_be_narrowed_to_a_status(pages: TestClient, send: Send) -> None:
    send("/jobs", **FIELDS, name="waiting one")
    assert "waiting one" in pages.get("/jobs?status=queued").text
    assert "No job is failed" in pages.get("/jobs?status=failed").text
    assert pages.get("/jobs?status=nonsense").status_code == 200


def test_a_running_job_shows_its_plan_curves_and_measured_memory(pages: TestClient, send: Send, runner: Any) -> None:
    job = send("/jobs", **FIELDS).url.path
    runner(job.rsplit("/", 1)[1])
    text = pages.get(job).text
    assert "step 3 of 10" in text
    assert "held for backward" in text
    assert "training loss" in text
    assert "inside the budget" in text
    assert "would need" in text


def test_the_page_of_a_long_job_reads_what_it_shows_and_no_more(
    pages: TestClient, send: Send, runner: Callable[[str], None]
) -> None:
    path = send("/jobs", **FIELDS).url.path
    job = path.rsplit("/", 1)[1]
    runner(job)
    step = {"total_steps": 1500, "images_per_s": 9.0, "peak_bytes": 2**20}
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        for number in range(100, 1300):
            payload = {**step, "step": number}
            session.add(Event(job_id=job, seq=number, epoch=1, type="step", payload=payload))
    loaded: list[int] = []

    def count(event: Event, context: object) -> None:
        loaded.append(event.seq)

    listen(Event, "load", count)
    try:
        text = pages.get(path).text
    finally:
        remove(Event, "load", count)
    assert "step 1299 of 1500" in text
    assert "held for backward" in text
    assert "events?after=1299" in text
    assert len(loaded) < 100
