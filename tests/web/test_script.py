"""The script of the pages, in Chromium, over a page that is another one each time it is fetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.web.rendering import STATIC

pytestmark = [pytest.mark.chromium, pytest.mark.slow, pytest.mark.timeout(420)]
PAGE = """<!doctype html><html data-root=""><body data-refresh="0.2"><p id="offline" hidden></p>
<section id="part" data-live><b>fetched {count} times</b>{news}<a href="/jobs/2">second</a>
<details><summary>Log</summary><pre class="log" style="height: 20px; overflow: auto">{log}</pre></details></section>
<script>{script}</script></body></html>"""


@pytest.fixture
def address() -> Iterator[str]:
    """Of a server whose page counts its visits, and has a link more from the second one on."""
    script, counts = STATIC.joinpath("s2a.js").read_text(encoding="utf-8"), iter(range(1, 10_000))

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count = next(counts)
            news = '<a href="/jobs/3">third</a>' if count > 1 else ""
            text = PAGE.format(count=count, news=news, log="line<br>" * 50, script=script)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_a_part_that_is_put_in_anew_keeps_focus_open_details_and_scroll(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.evaluate(
        "() => { document.querySelector('details').open = true; document.querySelector('.log').scrollTop = 30;"
        " document.querySelector('a[href=\"/jobs/2\"]').focus(); }"
    )
    page.get_by_role("link", name="third").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "second"
    assert page.evaluate("document.querySelector('details').open")
    assert page.evaluate("document.querySelector('.log').scrollTop") == 30
    page.close()
