"""The pages say what the code says: every error has a line, every page is in the navigation."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import yaml

import app.client.errors as client  # imports every tree of errors
from s2a_core.errors import S2AError

ROOT = Path(__file__).resolve().parents[2]
BASES = {S2AError.code}  # never raised themselves


def kinds(kind: type[S2AError] = S2AError) -> Iterator[type[S2AError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


def test_every_error_has_a_line_that_says_what_to_do() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    shipped = {k.code for k in kinds() if k.__module__.split(".")[0] in ("app", "s2a_core")} - BASES
    assert client.Unreachable.code in shipped
    assert shipped - set(re.findall(r"`([a-z_]+)`", page)) == set()


def test_the_settings_page_is_the_settings() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "settings_page.py"))["page"]()
    assert "None" not in made, "a setting says nothing of itself"
    assert (ROOT / "docs" / "settings.md").read_text() == made, "run `python scripts/settings_page.py`"


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=yaml.BaseLoader)

    def entries(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        elif isinstance(node, list):
            for item in node:
                yield from entries(item)
        elif isinstance(node, dict):
            for item in node.values():
                yield from entries(item)

    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert set(entries(site["nav"])) == pages
