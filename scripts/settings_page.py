"""Writes docs/settings.md from the settings themselves: `python scripts/settings_page.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from app.settings import ClientSettings, Settings  # noqa: E402  (the checkout comes first on the path)


def rows(settings: type[BaseSettings]) -> str:
    """A Markdown table of variables, defaults and meanings."""
    lines = ["| variable | default | what it says |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        default = "" if field.default in ("", []) else f"`{field.default}`"
        lines.append(f"| `S2A_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    return (
        "# Settings\n\n"
        "Environment variables, read once when a process starts. Names that end in `_s` are seconds,\n"
        "in `_bytes` bytes. Made by `python scripts/settings_page.py`.\n\n"
        f"## The service\n\n{rows(Settings)}\n\n## The command line\n\n{rows(ClientSettings)}\n"
    )


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(page())
