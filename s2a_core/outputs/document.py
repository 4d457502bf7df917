"""The frame of every page that is one file and opens offline, on a desk or a phone, in light or dark."""

from __future__ import annotations

import html
from importlib.resources import files


def html_document(kicker: str, title: str, body: str) -> str:
    """The page with its style sheet inside. kicker, title: text; body: HTML below the heading."""
    style = files("s2a_core.outputs").joinpath("report.css").read_text(encoding="utf-8").replace("\n", "")
    title = html.escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{title}</title><style>{style}</style></head><body><main>'
        f'<p class="kicker">{kicker}</p><h1>{title}</h1>{body}</main></body></html>\n'
    )
