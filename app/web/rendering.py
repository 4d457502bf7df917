"""Templates: one environment, the page's headers, and what every page is given."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChainableUndefined, Environment, PackageLoader, select_autoescape

from app.text import printable
from app.web import charts, formats
from s2a_core import __version__
from s2a_core.outputs.parts import method_words
from s2a_core.sizes import BUDGET_MEANS
from s2a_core.storage import storage_words
from s2a_core.tasks import metrics_of, task_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
STATIC = files("app.web").joinpath("static")

_environment = Environment(
    loader=PackageLoader("app.web"),
    autoescape=select_autoescape(default=True),
    undefined=ChainableUndefined,  # documents of older jobs may lack parts: a page shows a dash, not an error
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "size": formats.size,
    "up_to_mib": formats.up_to_mib,
    "duration": formats.duration,
    "ago": formats.ago,
    "iso": formats.iso,
    "clock": formats.clock,
    "percent": formats.percent,
    "gib_hours": formats.gib_hours,
    "signed": formats.signed,
    "number": formats.number,
    "gradient_error": formats.gradient_error,
    "error_meaning": formats.error_meaning,
}
_environment.globals |= {
    "charts": charts,
    "version": __version__,
    "budget_means": BUDGET_MEANS,
    "method_words": method_words,
    "metrics_of": metrics_of,
    "storage_words": storage_words,
    "task_of": task_of,
}


def root_of(request: Request) -> str:
    """The path under which a reverse proxy shows the service; empty at the top of a host."""
    return str((request.scope.get("state") or {}).get("root_path", ""))


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as an answer. The visitor, if there is one, is `visitor` in it."""
    visitor = getattr(request.state, "visitor", None)
    text = _environment.get_template(template).render(
        visitor=visitor, path=request.url.path, root=root_of(request), **values
    )
    return HTMLResponse(printable(text), status, headers=HEADERS)
