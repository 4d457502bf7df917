"""What a person does, in Chromium: first visit, a job watched to its end, a plan that cannot fit, an upload."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.faults.service import RunningService

pytestmark = [pytest.mark.chromium, pytest.mark.slow, pytest.mark.timeout(420)]

Visit = Callable[..., Any]
Shoot = Callable[[Any, str], None]
PATHS = {
    "queue": "/",
    "jobs": "/jobs",
    "new-job": "/jobs/new",
    "plans": "/plans",
    "datasets": "/datasets",
    "accuracy": "/accuracy",
    "teams": "/teams",
    "nothing-to-compare": "/jobs/compare",
    "keys": "/keys",
}
TRAINING_MS = 240_000


def serious(page: Any) -> list[str]:
    """What axe-core finds that keeps people out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    assert found["passes"], "axe-core did not run"
    return [
        f"{rule['id']}: {[node['html'][:120] for node in rule['nodes'][:3]]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


def test_the_first_visit_asks_for_the_printed_key(visit: Visit, shoot: Shoot) -> None:
    for size in ("desktop", "phone"):
        page = visit(size, is_signed_in=False)
        assert page.evaluate("document.activeElement.id") == "key"
        shoot(page, f"sign-in-{size}")
        assert serious(page) == []


def test_a_job_is_submitted_watched_to_its_end_and_its_adapter_downloaded(
    visit: Visit, shoot: Shoot, running: RunningService, tmp_path: Path
) -> None:
    page = visit()
    assert "No job yet" in page.content()
    page.get_by_role("link", name="Submit a first job").click()
    page.get_by_label("Memory budget").fill("24MiB")
    page.get_by_label("Epochs").fill("1")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/jobs/job_*")
    page.evaluate("window.isSamePage = true")
    page.locator("#phases li.on", has_text="training").wait_for(timeout=TRAINING_MS)
    page.locator("#curves svg.chart:visible").first.wait_for(timeout=60_000)
    page.locator("#phases li.on", has_text="step ").wait_for()
    shoot(page, "job-running-desktop")
    assert serious(page) == []
    page.locator("h1 .status.succeeded").wait_for(timeout=TRAINING_MS)
    page.get_by_role("link", name="adapter.safetensors").wait_for()
    assert page.evaluate("window.isSamePage"), "the page was loaded again instead of following by itself"

    job = running.job(page.url.rsplit("/", 1)[1])
    for name in ("predicted", "measured"):
        shown = page.locator(f"#{name}").inner_text()
        assert shown.endswith(" MiB")
        assert float(shown.split()[0]) == pytest.approx(job["report"][f"{name}_peak_bytes"] / 2**20, abs=0.051)
    assert page.get_by_text("inside the budget").is_visible()
    with page.expect_download() as expected:
        page.get_by_role("link", name="adapter.safetensors").click()
    content = Path(expected.value.path()).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert any(name.startswith("head") for name in header)
    page.reload()
    shoot(page, "job-desktop")
    assert serious(page) == []
    phone = visit("phone", "dark")
    phone.goto(page.url)
    shoot(phone, "job-phone-dark")
    assert serious(phone) == []


def test_an_impossible_budget_is_explained_and_the_smallest_one_fits(visit: Visit, shoot: Shoot) -> None:
    page = visit()
    page.get_by_role("link", name="Plan", exact=True).click()
    page.get_by_label("Memory budget").fill("300KiB")
    page.get_by_role("button", name="Make a plan").click()
    page.get_by_role("heading", name="Nothing fits this budget").wait_for(timeout=TRAINING_MS)
    assert "the smallest budget that does is" in page.locator(".verdict").inner_text()
    assert page.get_by_text("largest part:").is_visible()
    shoot(page, "plan-infeasible-desktop")
    assert serious(page) == []
    page.get_by_role("button", name="Plan again with").click()
    page.get_by_role("heading", name="It fits").wait_for(timeout=TRAINING_MS)
    for name in ("Memory over one step", "What would more memory buy?", "Storage per site"):
        assert page.get_by_role("heading", name=name).is_visible()
    for size, scheme in (("desktop", "light"), ("phone", "light"), ("desktop", "dark")):
        other = visit(size, scheme)
        other.goto(page.url)
        shoot(other, f"plan-{size}-{scheme}")
        assert serious(other) == []
        assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_archive_is_uploaded_with_progress_and_can_be_trained_on(visit: Visit, shoot: Shoot, tmp_path: Path) -> None:
    archive = tmp_path / "colours.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
            for number in range(6):
                picture = io.BytesIO()
                Image.new("RGB", (32, 32), tuple(min(255, c + number) for c in colour)).save(picture, "PNG")
                file.writestr(f"{name}/{number}.png", picture.getvalue())
    page = visit()
    page.get_by_role("link", name="Datasets").click()
    page.get_by_role("heading", name="Datasets").wait_for()
    page.get_by_label("Archive or weights", exact=True).set_input_files(str(archive))
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_text("Everything has arrived").wait_for()
    page.locator(".row.dataset .status.ready").wait_for(timeout=120_000)
    shoot(page, "datasets-ready-desktop")
    assert serious(page) == []
    page.get_by_role("link", name="Train", exact=True).click()
    assert page.get_by_label("Data", exact=True).input_value().startswith("ds_")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("desktop", "dark"), ("phone", "light")])
def test_every_page_fits_its_screen_and_keeps_nobody_out(
    visit: Visit, shoot: Shoot, running: RunningService, size: str, scheme: str
) -> None:
    page = visit(size, scheme)
    for name, path in PATHS.items():
        page.goto(running.url + path)
        shoot(page, f"{name}-{size}-{scheme}")
        assert serious(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than the screen"


def test_the_keyboard_reaches_the_content_and_every_form(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.get_by_role("link", name="New job").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="New job").wait_for()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
    for name in ("model", "budget", "data", "weights", "objective", "epochs", "priority", "name", "Submit"):
        assert name in reached, reached


def test_a_key_is_made_once_and_a_session_ends(visit: Visit) -> None:
    page = visit()
    page.get_by_role("link", name="Teams").click()
    page.get_by_role("link", name="Every key").click()
    page.get_by_label("Team").fill("vision")
    page.get_by_role("button", name="Make a key").click()
    key = page.locator("#new-key").inner_text()
    assert key.startswith("s2a_")
    page.get_by_role("link", name="Teams").first.click()
    page.get_by_role("link", name="Every key").click()
    assert key not in page.content()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Queue").wait_for()


def test_chosen_jobs_stay_chosen_while_they_train_and_are_compared(
    visit: Visit, shoot: Shoot, running: RunningService
) -> None:
    request = {"model": "s2a_tiny", "data": "digits", "budget": "24MiB", "epochs": 1, "name": "curved"}
    made = [running.submit(**request, lr=lr) for lr in (0.001, 0.02)]
    page = visit()
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_label("Search jobs").fill("curved s2a_tiny")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**q=curved**")
    assert page.get_by_role("checkbox").count() == 2
    for box in page.get_by_role("checkbox").all():
        box.check()
    for job in made:
        running.wait_until(job, "succeeded", seconds=TRAINING_MS / 1000)
    page.locator(".status.succeeded").nth(1).wait_for()
    assert page.locator("input:checked").count() == 2, "what was chosen is lost when the list follows"
    page.get_by_role("button", name="Compare chosen").click()
    page.get_by_role("heading", name="Parameters that differ").wait_for()
    assert page.locator("#differences").get_by_text("lr").is_visible()
    assert page.locator("#compared svg.chart:visible").count() == 3
    for size, scheme in (("desktop", "light"), ("desktop", "dark"), ("phone", "dark")):
        other = visit(size, scheme)
        other.goto(page.url)
        shoot(other, f"compare-{size}-{scheme}")
        assert serious(other) == []
        assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_admin_makes_a_team_with_a_quota_and_its_member_sees_its_own_numbers(visit: Visit, shoot: Shoot) -> None:
    page = visit()
    page.get_by_role("link", name="Teams", exact=True).click()
    page.get_by_label("Name").fill("robotics")
    page.get_by_text("Weight and quotas").click()
    page.get_by_label("Memory at once").fill("64GiB")
    page.get_by_role("button", name="Make a team").click()
    page.get_by_role("heading", name="robotics").wait_for()
    page.get_by_label("Whose, or what for").fill("ana")
    page.get_by_label("Expires").fill("30d")
    page.get_by_role("button", name="Make a key").click()
    key = page.locator("#new-key").inner_text()
    assert page.get_by_text("expires in 30 d").is_visible()
    shoot(page, "team-admin-desktop")
    assert serious(page) == []
    for size, scheme in (("desktop", "light"), ("phone", "dark")):
        member = visit(size, scheme, is_signed_in=False)
        member.get_by_label("API key").fill(key)
        member.get_by_role("button", name="Sign in").click()
        assert member.locator(".me").inner_text().split() == ["Signed", "in", "for", "team", "robotics", "member"]
        member.get_by_role("link", name="Team", exact=True).click()
        member.get_by_text("of 64 GiB").wait_for()
        assert member.get_by_role("button", name="Save").count() == 0
        shoot(member, f"team-member-{size}-{scheme}")
        assert serious(member) == []
        assert member.evaluate("document.documentElement.scrollWidth <= innerWidth")
