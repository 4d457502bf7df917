"""A run goes to a hub on this machine, and comes back by timm; nothing that is sent names a path."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from s2a_core.errors import InvalidInput, JobFailed
from s2a_core.inference import load_run
from s2a_core.inference.push import push_run
from tests.assertions import assert_close
from tests.s2a_core.inference.conftest import make_run


class Hub(BaseHTTPRequestHandler):
    """What of the hub's API an upload asks for; every file is taken as a regular one."""

    files: dict[str, bytes]
    created: list[dict[str, Any]]
    refuses = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.refuses:
            return self._answer({"error": "You don't have the rights to create a model"}, 403)
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            return self._answer({"url": f"http://{self.headers['Host']}/ana/digits"})
        if self.path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            return self._answer({"files": [{"path": f["path"], **regular} for f in asked]})
        if self.path.endswith("/commit/main"):
            for line in body.splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    self.files[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
            url = f"http://{self.headers['Host']}/ana/digits/commit/1"
            return self._answer({"commitUrl": url, "commitOid": "1", "success": True})
        if self.path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        return self._answer({"error": self.path}, 404)

    def do_GET(self) -> None:
        found = {"error": "Repository not found"} if self.refuses else {"siblings": [], "id": "ana/digits"}
        self._answer(found, 404 if self.refuses else 200)

    def _answer(self, document: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub on this machine, which huggingface_hub takes for the real one."""
    from huggingface_hub import HfApi

    kind = type("OwnHub", (Hub,), {"files": {}, "created": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("huggingface_hub.HfApi", lambda token=None: HfApi(endpoint=address, token=token))
    yield kind
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.filterwarnings("ignore")
def test_a_merged_run_comes_back_by_timm_alone(hub: type[Hub], tmp_path: Path) -> None:
    model = make_run(tmp_path / "run", "bias")
    run = load_run(tmp_path / "run")
    done = push_run(run, "ana/digits", is_private=True, token="hf_test")
    assert hub.created[0]["name"] == "digits"
    assert hub.created[0].get("private") is True or hub.created[0]["visibility"] == "private"
    assert set(done["files"]) == {"README.md", "config.json", "figures.json", "model.safetensors"} <= set(hub.files)
    card = hub.files["README.md"].decode()
    assert 'timm.create_model("hf-hub:ana/digits", pretrained=True)' in card
    assert "license: " in card
    assert f"{100 * float(run.report['accuracy']):.2f} %" in card
    assert all(str(tmp_path).encode() not in content for content in hub.files.values())
    for name, content in hub.files.items():
        path = tmp_path / "pulled" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    pulled = timm.create_model(f"local-dir:{tmp_path / 'pulled'}", pretrained=True).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert_close(pulled(x), model(x), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_does_not_merge_goes_as_a_package(hub: type[Hub], tmp_path: Path) -> None:
    make_run(tmp_path / "run", "side")
    done = push_run(load_run(tmp_path / "run"), "ana/digits", token="hf_test")
    assert done["files"] == ["README.md", "figures.json", "model.zip"]
    assert "load_run" in hub.files["README.md"].decode()


@pytest.mark.filterwarnings("ignore")
def test_refusals_are_words(hub: type[Hub], tmp_path: Path) -> None:
    make_run(tmp_path / "run", "bias")
    run = load_run(tmp_path / "run")
    with pytest.raises(InvalidInput, match="OWNER/NAME"):
        push_run(run, "digits")
    hub.refuses = True
    with pytest.raises(JobFailed, match="hf auth login"):
        push_run(run, "ana/digits", token="hf_test")
