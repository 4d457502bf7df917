"""A running service with real training, and a headless Chromium that reports every error and every other host."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.service import RunningService

SHOTS = Path(__file__).resolve().parents[2] / "var" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """`s2a serve` on an empty folder; its printed key is `running.key`."""
    service = RunningService(tmp_path_factory.mktemp("service")).start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, running: RunningService) -> Iterator[Callable[..., Any]]:
    """visit(size, scheme, is_signed_in) is a page; afterwards: no console error and no request to another host."""
    contexts, wrong = [], list[str]()

    def watch(page: Any) -> None:
        page.on("console", lambda said: wrong.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        own = (running.url, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(f"another host: {r.url}"))

    def open_page(size: str = "desktop", scheme: str = "light", is_signed_in: bool = True) -> Any:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(running.url + "/")
        if is_signed_in:
            page.get_by_label("API key").fill(running.key)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", name="Queue").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def shoot() -> Callable[[Any, str], None]:
    """shoot(page, name) writes a screenshot for a person to look at, into var/screenshots, which git ignores."""

    def take(page: Any, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)

    return take
